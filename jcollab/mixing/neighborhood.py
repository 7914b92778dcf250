"""Any aggregation rule over the messages of the neighbours, through any channel."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx

from jcollab import channels
from jcollab.aggregators import Rule
from jcollab.core import Array, Channel, Mixer, PyTree, Wire
from jcollab.mixing.common import check_n, payload, weight_dtype, widen
from jcollab.topology import Topology, as_topology


class NeighborhoodState(NamedTuple):
    """Neighbour lists ``[n, K]``, their weights ``[n, K]``, and the state of the channel."""

    neighbors: Array
    weights: Array
    mask: Array
    channel: PyTree


def neighborhood(
    topology: Topology | nx.Graph, rule: Rule, channel: Channel | None = None
) -> Mixer:
    """Every client applies a rule to what its neighbours sent: ``x_i' = rule(x_i, {x_j}, w_i)``.

    Messages that do not arrive have weight 0, and the weights of those that do, with the client's
    own, are scaled to sum to 1.

    Args:
        topology: a topology; its Metropolis-Hastings weights are used.
        rule: ``rule(own [...], received [K, ...], weights [K]) -> new [...]`` for one receiver.
        channel: what happens to messages on their way.

    Raises:
        TypeError: if ``rule`` is not callable.
        ValueError: at ``init``, if n differs between ``x`` and the topology.
    """
    topology = as_topology(topology)
    if not callable(rule):
        raise TypeError(f"rule must be a function, got {type(rule).__name__}")
    link = channel or channels.reliable()

    def init(x: PyTree) -> NeighborhoodState:
        check_n(x, topology.n)
        inbox = jax.tree.map(lambda leaf: leaf[topology.neighbors], x)
        return NeighborhoodState(
            jnp.asarray(topology.neighbors),
            jnp.asarray(topology.metropolis, weight_dtype(x)),
            jnp.asarray(topology.mask),
            link.init(inbox),
        )

    def update(
        x: PyTree, s: NeighborhoodState, *, key: Array, step: Array
    ) -> tuple[PyTree, NeighborhoodState]:
        wide = jax.tree.map(widen, x)
        inbox = jax.tree.map(lambda leaf: leaf[s.neighbors], wide)
        wire = Wire(key, step, x, s.neighbors, s.weights)
        inbox, arrived, link_state = link.update(inbox, s.mask, s.channel, wire)
        own_weight = 1 - s.weights.sum(1, keepdims=True)
        weights = jnp.where(arrived, s.weights, 0)
        weights = weights / (own_weight + weights.sum(1, keepdims=True))
        mixed = jax.vmap(rule)(wide, inbox, weights)
        mixed = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), mixed, x)
        return mixed, s._replace(channel=link_state)

    return Mixer(init, update, lambda x: topology.degrees * float(payload(x)))
