"""RelaySum: sums that travel over the edges of a tree."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import networkx as nx

from jcollab import channels
from jcollab.core import Array, Channel, Mixer, PyTree, Wire
from jcollab.mixing.common import check_n, payload, where, widen
from jcollab.topology import Topology, as_topology, require_tree

Fill = Literal["initial", "previous", "own", "zero", "counts"]


class RelayState(NamedTuple):
    """What RelaySum keeps: the messages received last, ``[n, K, ...]``, and their counts.

    Attributes:
        inbox: message from every neighbour, a sum over the subtree behind it, ``[n, K, ...]``.
        counts: number of values in every message, int32 ``[n, K]``.
        reference: value that stands in for those still missing, ``[n, ...]`` or ``()``.
        neighbors: int32 ``[n, K]``.
        reverse: slot that a message takes at its receiver, int32 ``[n, K]``.
        mask: True where a slot holds a neighbour, bool ``[n, K]``.
        channel: state of the channel.
    """

    inbox: PyTree
    counts: Array
    reference: PyTree
    neighbors: Array
    reverse: Array
    mask: Array
    channel: PyTree


def relay_sum(
    topology: Topology | nx.Graph,
    *,
    fill: Fill = "initial",
    overlap: bool = False,
    channel: Channel | None = None,
) -> Mixer:
    """RelaySum on a tree: every value reaches everyone exactly once, d hops later.

    Each round client i sends ``m_ij = x_i + sum_{k != j} m_ki`` to its neighbour j, where ``m_ki``
    arrived one round before, and the number ``c_ij`` of values in it. With what has arrived,

        x_i' = ( x_i + sum_k m_ki + (n - C_i) r_i ) / n,    C_i = 1 + sum_k c_ki,

    so that on a reliable tree ``x_i'(t) = (1/n) sum_j x_j(t - max(d_ij - 1, 0))``.

    Args:
        topology: a tree.
        fill: the stand-in ``r_i`` for values that are still missing: ``"initial"`` the value at
            ``init``; ``"previous"`` the client's last average (the right one where messages get
            lost); ``"own"`` the value ``x_i`` itself; ``"zero"``; ``"counts"`` no stand-in, but
            division by ``C_i`` instead of n.
        overlap: averages with the messages of the round before, so that sending can overlap with
            computing; the delay becomes ``d_ij``.
        channel: what happens to messages on their way; a lost message takes its count along.

    Raises:
        ValueError: if the graph has a cycle or ``fill`` is unknown; at ``init``, if n differs
            between ``x`` and the topology.

    Source: Vogels et al. 2021, arXiv 2110.04175 (RelaySGD).
    """
    topology = as_topology(topology)
    require_tree(topology)
    if fill not in get_args(Fill):
        raise ValueError(f"fill must be one of {get_args(Fill)}, got {fill!r}")
    n, link = topology.n, channel or channels.reliable()
    keeps_reference = fill in ("initial", "previous")

    def init(x: PyTree) -> RelayState:
        check_n(x, n)
        width = topology.neighbors.shape[1]
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
            channel=link.init(inbox),
        )

    def update(x: PyTree, s: RelayState, *, key: Array, step: Array) -> tuple[PyTree, RelayState]:
        def deliver(own: Array, inbox: Array) -> Array:
            outgoing = jnp.expand_dims(own + inbox.sum(1, dtype=inbox.dtype), 1) - inbox
            return where(s.mask, outgoing[s.neighbors, s.reverse], 0)

        wide = jax.tree.map(widen, x)
        received = jax.tree.map(deliver, wide, s.inbox)
        counts = deliver(jnp.ones(n, jnp.int32), s.counts)
        wire = Wire(key, step, x, jnp.arange(n), s.neighbors, s.mask / n)
        received, arrived, link_state = link.update(received, s.mask, s.channel, wire)
        received = jax.tree.map(lambda leaf: where(arrived, leaf, 0), received)
        counts = jnp.where(arrived, counts, 0)

        inbox, present = (s.inbox, s.counts) if overlap else (received, counts)
        present = 1 + present.sum(1)

        def average(own: Array, inbox: Array, reference: Array) -> Array:
            total = own + inbox.sum(1)
            count = present.astype(own.dtype).reshape(n, *(1,) * (own.ndim - 1))
            if fill == "counts":
                return total / count
            stand_in = {"own": own, "zero": jnp.zeros_like(own)}.get(fill, reference)
            return (total + (n - count) * stand_in) / n

        mixed = jax.tree.map(average, wide, inbox, s.reference if keeps_reference else x)
        mixed = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), mixed, x)
        return mixed, s._replace(
            inbox=received,
            counts=counts,
            reference=mixed if fill == "previous" else s.reference,
            channel=link_state,
        )

    return Mixer(init, update, lambda x: topology.degrees * float(payload(x)))
