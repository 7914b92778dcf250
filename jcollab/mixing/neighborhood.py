"""A mixer that applies an aggregation rule to the messages of the neighbors."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax

from jcollab import channels, checks, layout
from jcollab.aggregators.common import check_inputs, check_rule, combined
from jcollab.core import (
    Array,
    Channel,
    Mixer,
    PyTree,
    Receiver,
    Round,
    Rule,
    Wire,
    wide_dtype,
    widen,
)
from jcollab.mixing.common import check_given, check_n, payload, weight_dtype
from jcollab.topology import Topology, as_topology


class NeighborhoodState(NamedTuple):
    """State of :func:`neighborhood`; every leaf leads with the client axis.

    Attributes:
        neighbors: indices of the neighbors, int32 ``[n, K]``.
        weights: mixing weight of every slot, ``[n, K]``.
        mask: True where a slot has a neighbor, bool ``[n, K]``.
        rule: state of the rule.
        channel: state of the channel.
    """

    neighbors: Array
    weights: Array
    mask: Array
    rule: PyTree
    channel: PyTree


def neighborhood(
    topology: Topology | nx.Graph,
    rule: Rule,
    channel: Channel | None = None,
    *,
    receivers: Any = None,
    chunk: int | None = None,
) -> Mixer:
    """Builds a mixer that applies a rule at every client: ``x_i' = rule(x_i, {x_j}, w_i)``.

    A message that does not arrive has weight 0. The weights of the other messages and of the
    client's own value are scaled to sum to 1.

    Args:
        topology: a topology, whose mixing weights are used.
        rule: how one receiver combines its messages, see :mod:`jcollab.aggregators`.
        channel: what happens to messages in transit, see :mod:`jcollab.channels`; None for reliable
            links.
        receivers: bool ``[n]``, the clients that apply the rule; the others keep their value. None
            for all.
        chunk: number of receivers that are computed at a time, which bounds the memory of their
            inboxes, ``[chunk, K, ...]``; None for a choice by backend and size.

    Raises:
        TypeError: if ``rule`` is not a Rule or ``channel`` is not a Channel.
        ValueError: if ``receivers`` is not a mask of length n, chunk < 1, or a receiver has fewer
            inputs than the rule needs; in ``init``, if n differs between ``x`` and the topology.

    Example:
        >>> mixer = jc.neighborhood(jc.topology.complete(3), jc.aggregators.coordinate_median())
        >>> x, context = jnp.array([0.0, 1.0, 9.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()
        [1.0, 1.0, 1.0]
    """
    topology = as_topology(topology)
    n, link = topology.n, channels.reliable() if channel is None else channel
    check_rule(rule)
    checks.kind(Channel, channel=link)
    checks.counts(chunk=chunk)
    rows = checks.members(receivers, n, "receivers")
    check_inputs(rule, 1 + topology.degrees[rows])

    def init(x: PyTree) -> NeighborhoodState:
        check_n(x, n)
        wide = jax.tree.map(widen, x)
        return NeighborhoodState(
            jnp.asarray(topology.neighbors),
            jnp.asarray(topology.weights, weight_dtype(x)),
            jnp.asarray(topology.mask),
            jax.vmap(rule.init)(wide),
            _channel_state(link, wide, topology.neighbors),
        )

    def update(x: PyTree, s: NeighborhoodState, context: Round) -> tuple[PyTree, NeighborhoodState]:
        check_given(x, n, s, NeighborhoodState)
        # Channels fold the receiver, 0..n-1, into the key; with n folded in, rules get other keys.
        rule_key = jax.random.fold_in(context.key, n)

        def receive(
            pool: PyTree,
            places: Array,
            sent: PyTree,
            own: PyTree,
            i: Array,
            s: NeighborhoodState,
            batch: PyTree,
        ) -> tuple[PyTree, PyTree, PyTree]:
            # Rules see one receiver, channels a batch of them, here of length 1. Gathering inside
            # the loop over clients limits the memory of inboxes to one chunk.
            own = jax.tree.map(widen, own)
            inbox = jax.tree.map(lambda leaf: widen(leaf[places])[None], pool)
            one = jax.tree.map(lambda leaf: leaf[None], own)
            wire = Wire(
                context.key, context.step, sent, one, i[None], s.neighbors[None], s.weights[None]
            )
            channel_state = jax.tree.map(lambda leaf: leaf[None], s.channel)
            inbox, arrived, channel_state = link.update(inbox, s.mask[None], channel_state, wire)
            inbox, channel_state = jax.tree.map(lambda leaf: leaf[0], (inbox, channel_state))
            weights = _weights_of_arrived(s.weights, arrived[0])
            own_key = jax.random.fold_in(rule_key, i)
            receiver = Receiver(own_key, context.step, i, s.neighbors, batch=batch)
            new, kept = combined(rule, own, inbox, weights, s.rule, receiver)
            return new, kept, channel_state

        each = layout.per_client(
            receive,
            chunk,
            in_axes=(None, 0, 0, 0, 0),
            bytes_each=_inbox_bytes(x, topology.neighbors.shape[1]),
            only=None if len(rows) == n else rows,
            reads=topology.neighbors,
        )
        new, kept, channel_state = each(x, s.neighbors, x, x, jnp.arange(n), s, context.batch)
        new = optax.tree.cast_like(new, x)
        if len(rows) < n:
            old = (x, s.rule, s.channel)
            new, kept, channel_state = jax.tree.map(
                lambda leaf, fresh: leaf.at[rows].set(fresh), old, (new, kept, channel_state)
            )
        return new, s._replace(rule=kept, channel=channel_state)

    return Mixer(init, update, lambda x: topology.degrees * float(payload(x)), topology.names)


def _weights_of_arrived(weights: Array, arrived: Array) -> Array:
    """Spreads the weight of lost messages over the others and the own value, in proportion."""
    rest = 1 - jnp.where(arrived, 0, weights).sum()
    # If the own weight is 0 and every message is lost, the client keeps its value.
    return jnp.where(arrived, weights, 0) / jnp.where(rest > 0, rest, 1)


def _channel_state(link: Channel, wide: PyTree, neighbors: np.ndarray) -> PyTree:
    def inbox(wide: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[neighbors], wide)

    # An inbox of all clients, [n, K, ...], may be large, and most channels have no state: it is
    # built only if the state has leaves.
    if not jax.tree.leaves(jax.eval_shape(lambda x: link.init(inbox(x)), wide)):
        return link.init(jax.eval_shape(inbox, wide))
    return link.init(inbox(wide))


def _inbox_bytes(x: PyTree, slots: int) -> int:
    sizes = (leaf.size // leaf.shape[0] * widen_size(leaf) for leaf in jax.tree.leaves(x))
    return (slots + 2) * sum(sizes)


def widen_size(leaf: Array) -> int:
    """Returns the size in bytes of one entry of the leaf in the dtype of its average."""
    return wide_dtype(leaf).itemsize
