"""A mixer in which every client receives the value of one random client."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from jcollab import channels, checks, layout
from jcollab.core import Array, Channel, Mixer, PyTree, Round, Wire
from jcollab.mixing.common import check_n, no_bytes, payload, where
from jcollab.topology import Topology, as_topology


def random_peer(
    topology: Topology | nx.Graph | None = None,
    channel: Channel | None = None,
    *,
    include_self: bool = True,
) -> Mixer:
    """Builds a mixer that replaces each value by the value of a random client: ``x_i' = x_j``.

    The sender j is uniform over all clients, through a server, or over the neighbors in a graph. A
    client that receives no message keeps its value. ``bytes_sent`` is the size of one value through
    a server; on a graph, that size times the expected number of neighbors that draw the client.

    Args:
        topology: graph of the neighbors to draw from; None for all clients, through a server.
        channel: what happens to messages in transit, in inboxes with a single slot, see
            :mod:`jcollab.channels`; None for reliable links.
        include_self: whether a client may draw itself.

    Raises:
        TypeError: if ``topology`` is not a graph or ``channel`` is not a Channel.
        ValueError: in ``init``, if n differs between ``x`` and the topology, or if a single client
            may not draw itself.

    Example:
        >>> star = jc.topology.star(3)  # clients 1 and 2 have client 0 as their only neighbor
        >>> mixer = jc.mixing.random_peer(star, include_self=False)
        >>> x, context = jnp.array([5.0, 1.0, 2.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0][1:].tolist()
        [5.0, 5.0]

    Source: the observations of Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """
    link = channels.reliable() if channel is None else channel
    checks.kind(Channel, channel=link)
    graph = None if topology is None else as_topology(topology)

    def init(x: PyTree) -> PyTree:
        n = layout.num_clients(x, "params")
        if graph is not None:
            check_n(x, graph.n, averaged=False)
        elif n == 1 and not include_self:
            raise ValueError("include_self must be True for a single client, got False")
        table = () if graph is None else (jnp.asarray(graph.neighbors), jnp.asarray(graph.degrees))
        return table, link.init(_inbox(x, jnp.arange(n)))

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        table, channel_state = s
        n = layout.num_clients(x)
        own = jnp.arange(n, dtype=jnp.int32)
        draw_key, wire_key = jax.random.split(context.key)
        keys = layout.client_keys(draw_key, n)

        def draw(key: Array, i: Array, row: tuple) -> Array:
            if graph is None:
                if include_self:
                    return jax.random.randint(key, (), 0, n, jnp.int32)
                # a shift by 1..n-1 is uniform over the others
                return (i + jax.random.randint(key, (), 1, n, jnp.int32)) % n
            # Places behind the neighbors stand for the client itself, which padded slots contain.
            neighbors, degree = row
            place = jax.random.randint(key, (), 0, degree + int(include_self), jnp.int32)
            return jnp.where(place < degree, neighbors[jnp.minimum(place, len(neighbors) - 1)], i)

        peers = jax.vmap(draw)(keys, own, table)
        wire = Wire(wire_key, context.step, x, x, own, peers[:, None], jnp.ones((n, 1)))
        # A client that draws itself receives no message, so the channel has nothing to lose.
        arrived = (peers != own)[:, None]
        inbox, arrived, channel_state = link.update(_inbox(x, peers), arrived, channel_state, wire)
        got = jax.tree.map(lambda leaf, mine: where(arrived[:, 0], leaf[:, 0], mine), inbox, x)
        return got, (table, channel_state)

    def bytes_sent(x: PyTree) -> Any:
        n = layout.num_clients(x)
        if graph is None:
            return no_bytes(x) if n == 1 else np.full(n, float(payload(x)))
        # Neighbor j draws a given client with probability 1 / (number of its choices).
        asked = np.zeros(graph.n)
        for j in range(graph.n):
            degree = int(graph.degrees[j])
            asked[graph.neighbors[j, :degree]] += 1 / (degree + include_self)
        return asked * float(payload(x))

    return Mixer(init, update, bytes_sent, None if graph is None else graph.names)


def _inbox(x: PyTree, senders: Array) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[senders][:, None], x)
