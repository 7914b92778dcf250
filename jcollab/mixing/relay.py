"""RelaySum: delayed averages from sums that clients relay over the edges of a tree."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax

from jcollab import channels, checks, layout
from jcollab.aggregators.common import check_inputs, check_rule, combined
from jcollab.core import Array, Channel, Mixer, PyTree, Receiver, Round, Rule, Wire, widen
from jcollab.mixing.common import check_given, check_n, payload, slot_sum, weight_dtype, where
from jcollab.topology import Topology, as_topology, require_tree

Fill = Literal["initial", "previous", "own", "zero", "counts"]


class RelayState(NamedTuple):
    """State of :func:`relay_sum`; every leaf leads with the client axis.

    Attributes:
        inbox: message from every neighbor, the sum over the subtree behind it, ``[n, K, ...]``.
        counts: number of values in every message, int32 ``[n, K]``.
        reference: stand-in for values that are still missing, ``[n, ...]`` or ``()``.
        neighbors: indices of the neighbors, int32 ``[n, K]``.
        reverse: slot that a message takes at its receiver, int32 ``[n, K]``.
        mask: True where a slot has a neighbor, bool ``[n, K]``.
        rule: state of the rule.
        channel: state of the channel.
    """

    inbox: PyTree
    counts: Array
    reference: PyTree
    neighbors: Array
    reverse: Array
    mask: Array
    rule: PyTree
    channel: PyTree


def relay_sum(
    topology: Topology | nx.Graph,
    *,
    fill: Fill = "initial",
    overlap: bool = False,
    channel: Channel | None = None,
    rule: Rule | None = None,
) -> Mixer:
    """Builds the RelaySum mixer: every value reaches each client once, delayed by its distance.

    In each round client i sends ``m_ij = x_i + sum_{k != j} m_ki`` to its neighbor j, where
    ``m_ki`` arrived one round before, and the number ``c_ij`` of values in the sum. The messages
    that have arrived give

        x_i' = ( x_i + sum_k m_ki + (n - C_i) r_i ) / n,    C_i = 1 + sum_k c_ki,

    so that on a reliable tree ``x_i'(t) = (1/n) sum_j x_j(t - max(d_ij - 1, 0))``.

    Args:
        topology: a tree.
        fill: the stand-in ``r_i`` for values that are still missing: ``"initial"`` the value at
            ``init``; ``"previous"`` the client's last average, which suits links that lose
            messages; ``"own"`` the value ``x_i``; ``"zero"``; ``"counts"`` for no stand-in and
            division by ``C_i`` instead of n.
        overlap: averages with the messages of the round before, so that communication can overlap
            with computation; the delay becomes ``d_ij``.
        channel: what happens to messages in transit, see :mod:`jcollab.channels`; a lost message
            loses its count, too. None for reliable links.
        rule: combines the means ``m_ki / c_ki`` of the subtrees behind the neighbors, with weights
            ``c_ki / n``, and the mean of ``x_i`` and of ``n - C_i`` stand-ins ``r_i`` as the own
            value; None for the sum above. A robust rule protects every receiver, but sums are
            relayed unchanged.

    Raises:
        TypeError: if ``rule`` is not a Rule or ``channel`` is not a Channel.
        ValueError: if the graph has a cycle, ``fill`` is unknown, or a client has fewer inputs than
            the rule needs; in ``init``, if n differs between ``x`` and the topology.

    Example:
        >>> mixer, x = jc.relay_sum(jc.topology.chain(3)), jnp.array([0.0, 3.0, 6.0])
        >>> s, update = mixer.init(x), jax.jit(mixer.update)
        >>> for t in range(2):  # the diameter: every value has arrived
        ...     mixed, s = update(x, s, jc.core.Round(jax.random.key(0), t))
        >>> [round(float(value), 3) for value in mixed]
        [3.0, 3.0, 3.0]

    Source: Vogels et al. 2021, arXiv 2110.04175 (RelaySGD).
    """
    topology = as_topology(topology)
    require_tree(topology)
    checks.one_of("fill", fill, get_args(Fill))
    n, link = topology.n, channels.reliable() if channel is None else channel
    checks.kind(Channel, channel=link)
    width = topology.neighbors.shape[1]
    # Messages of all clients are rows [n K, ...]: slot k of client i reads the slot that its k-th
    # neighbor addressed to i. The table is known at trace time, so a mesh moves these rows only.
    links = topology.neighbors * width + topology.reverse
    carry = layout.over_neighbors(lambda pool, table: pool[table], links, rows_per_client=width)
    keeps_reference = fill in ("initial", "previous")
    if rule is not None:
        check_rule(rule)
        check_inputs(rule, 1 + topology.degrees)

    def init(x: PyTree) -> RelayState:
        check_n(x, n)
        inbox = jax.tree.map(
            lambda leaf: jnp.zeros((n, width, *leaf.shape[1:]), widen(leaf).dtype), x
        )
        return RelayState(
            inbox=inbox,
            counts=jnp.zeros((n, width), jnp.int32),
            reference=x if keeps_reference else (),
            neighbors=jnp.asarray(topology.neighbors),
            reverse=jnp.asarray(topology.reverse),
            mask=jnp.asarray(topology.mask),
            rule=() if rule is None else jax.vmap(rule.init)(jax.tree.map(widen, x)),
            channel=link.init(inbox),
        )

    def update(x: PyTree, s: RelayState, context: Round) -> tuple[PyTree, RelayState]:
        check_given(x, n, s, RelayState)

        def deliver(own: Array, inbox: Array) -> Array:
            rows = carry(_outgoing(own, inbox), s.neighbors * width + s.reverse)
            # Padded slots point at rows of the client itself, which are not messages.
            return where(s.mask, rows, 0)

        # Counts take the same path as values, so that a lost message is missing from both and C_i
        # remains the number of values in the sum.
        counts = deliver(jnp.ones(n, jnp.int32), s.counts)
        # Sums over up to n values lose digits in half precision, so messages are float32 or wider.
        wide = jax.tree.map(widen, x)
        received = jax.tree.map(deliver, wide, s.inbox)
        link_state = s.channel
        if channel is not None:
            shares = s.mask.astype(float) / n
            wire = Wire(context.key, context.step, x, wide, jnp.arange(n), s.neighbors, shares)
            received, arrived, link_state = link.update(received, s.mask, s.channel, wire)
            received = jax.tree.map(lambda leaf: where(arrived, leaf, 0), received)
            counts = jnp.where(arrived, counts, 0)

        # The state always stores the new messages, which the next round relays.
        inbox, present = (s.inbox, s.counts) if overlap else (received, counts)
        references, rule_state = s.reference if keeps_reference else x, s.rule
        if rule is None:
            mixed = _average(fill, wide, inbox, present, references)
        else:
            own, means, weights = _rule_inputs(fill, wide, inbox, present, references)
            mixed, rule_state = _apply_rule(rule, own, means, weights, s, context)
        mixed = optax.tree.cast_like(mixed, x)
        return mixed, s._replace(
            inbox=received,
            counts=counts,
            reference=mixed if fill == "previous" else s.reference,
            rule=rule_state,
            channel=link_state,
        )

    return Mixer(init, update, lambda x: _bytes_sent(topology, x), topology.names)


def _outgoing(own: Array, inbox: Array) -> Array:
    """Computes the messages ``m_ij = x_i + sum_{k != j} m_ki`` of all clients, ``[n K, ...]``."""
    # A neighbor receives every value except those that it sent, which would otherwise return to it.
    # One total minus each slot costs O(K) additions instead of O(K^2).
    sums = jnp.expand_dims(slot_sum(inbox, own), 1) - inbox
    return sums.reshape(-1, *sums.shape[2:])


def _bytes_sent(topology: Topology, x: PyTree) -> np.ndarray:
    count = np.dtype(np.int32).itemsize  # every message contains the count of its values
    return topology.degrees * float(payload(x) + count)


def _average(fill: Fill, x: PyTree, inbox: PyTree, counts: Array, references: PyTree) -> PyTree:
    """Averages the values that have arrived and stand-ins for the others, over n (or ``C_i``)."""
    n, total = len(counts), 1 + counts.sum(1)

    def each(own: Array, inbox: Array, reference: Array) -> Array:
        count = _column(total, own)
        if fill == "counts":
            return slot_sum(inbox, own) / count
        return (slot_sum(inbox, own) + (n - count) * _stand_in(fill, own, reference)) / n

    return jax.tree.map(each, x, inbox, references)


def _rule_inputs(
    fill: Fill, x: PyTree, inbox: PyTree, counts: Array, references: PyTree
) -> tuple[PyTree, PyTree, Array]:
    """Computes the own inputs of the rule, the means of the subtrees, and their weights."""
    n, total = len(counts), 1 + counts.sum(1)

    # Rules expect values on one scale: a sum over a subtree becomes a mean, with the size of the
    # subtree in its weight. The own value and the stand-ins share the rest, (n - sum_k c_k) / n.
    def center(own: Array, reference: Array) -> Array:
        missing = n - _column(total, own)
        return (own + missing * _stand_in(fill, own, reference)) / (1 + missing)

    def mean(box: Array) -> Array:
        count = jnp.maximum(counts, 1).reshape(*counts.shape, *(1,) * (box.ndim - 2))
        return box / count.astype(box.dtype)

    means = jax.tree.map(mean, inbox)
    if fill == "counts":
        return x, means, counts / total[:, None]
    return jax.tree.map(center, x, references), means, counts / n


def _stand_in(fill: Fill, own: Array, reference: Array) -> Array:
    return {"own": own, "zero": jnp.zeros_like(own)}.get(fill, widen(reference))


def _column(total: Array, like: Array) -> Array:
    return total.astype(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


def _apply_rule(
    rule: Rule, own: PyTree, means: PyTree, weights: Array, s: RelayState, context: Round
) -> tuple[PyTree, PyTree]:
    def each(
        own: PyTree,
        means: PyTree,
        weights: Array,
        i: Array,
        senders: Array,
        rule_state: PyTree,
        batch: PyTree,
    ) -> tuple[PyTree, PyTree]:
        own_key = jax.random.fold_in(rule_key, i)
        receiver = Receiver(own_key, context.step, i, senders, batch=batch)
        return combined(rule, own, means, weights, rule_state, receiver)

    receivers, weights = jnp.arange(len(weights)), weights.astype(weight_dtype(own))
    # Channels fold the receiver, 0..n-1, into the key; folding n in first gives rules other keys.
    rule_key = jax.random.fold_in(context.key, len(weights))
    return layout.per_client(each)(
        own, means, weights, receivers, s.neighbors, s.rule, context.batch
    )
