"""Averages over directed links: push-sum and the one-peer exponential graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax

from jcollab import channels, checks, layout
from jcollab.core import Array, Channel, Mixer, PyTree, Round, Wire, widen
from jcollab.mixing.common import (
    check_given,
    check_n,
    neighbor_sum,
    payload,
    weight_dtype,
    where,
)
from jcollab.topology.graph import ordered_nodes


def one_peer_exponential(
    n: int,
    *,
    rounds: int = 1,
    exponent: Callable[[Array, int], Array] | None = None,
    channel: Channel | None = None,
) -> Mixer:
    """Builds a mixer that averages with one client, at a distance that changes in every exchange.

        x_i' = ( x_i + x_{i - 2^s mod n} ) / 2,    s = r mod d,    d = floor(log2(n - 1)) + 1

    where r counts exchanges. If n is a power of two, d exchanges give the exact mean. A client that
    receives no message keeps its value. All mixing matrices are doubly stochastic, so that the
    weights of push-sum are not needed.

    Args:
        n: number of clients, at least 2.
        rounds: exchanges in each communication round, at least 1.
        exponent: ``exponent(step, j) -> s`` for exchange j of a round, taken modulo d; None for
            ``step * rounds + j``.
        channel: what happens to messages in transit, see :mod:`jcollab.channels`; None for reliable
            links.

    Raises:
        TypeError: if ``exponent`` is not a function or ``channel`` is not a Channel.
        ValueError: if n < 2 or rounds < 1; in ``init``, if ``x`` is not stacked for n clients.

    Example:
        >>> mixer = jc.mixing.one_peer_exponential(4, rounds=2)  # distances 1, then 2
        >>> x, context = jnp.array([0.0, 0.0, 0.0, 8.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()
        [2.0, 2.0, 2.0, 2.0]

    Source: Assran et al. 2019, arXiv 1811.10792 (SGP); Vogels et al. 2021, arXiv 2110.04175.
    """
    checks.count("n", n, 2)
    checks.count("rounds", rounds)
    if exponent is not None:
        checks.functions(exponent=exponent)
    period, link = int(n - 1).bit_length(), channels.reliable() if channel is None else channel
    checks.kind(Channel, channel=link)

    def init(x: PyTree) -> PyTree:
        check_n(x, n)
        # One channel state for each exchange of a round, as if each used links that are not shared.
        inbox = jax.tree.map(lambda leaf: widen(leaf)[:, None], x)
        return tuple(link.init(inbox) for _ in range(rounds))

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        check_n(x, n)
        value, states = jax.tree.map(widen, x), []
        everyone = jnp.ones((n, 1), bool)
        step = context.step
        for j in range(rounds):
            power = step * rounds + j if exponent is None else exponent(step, j)
            sender = (jnp.arange(n)[:, None] - 2 ** jnp.asarray(power % period, int)) % n
            inbox = jax.tree.map(lambda leaf: leaf[sender], value)  # noqa: B023
            own_key = jax.random.fold_in(context.key, j)  # other losses in every exchange
            wire = Wire(
                own_key, step, value, value, jnp.arange(n), sender, everyone.astype(float) / 2
            )
            inbox, arrived, state = link.update(inbox, everyone, s[j], wire)
            states.append(state)

            # The value stays wide from one exchange to the next and is rounded once, at the end.
            def average(own: Array, box: Array) -> Array:
                return where(arrived[:, 0], (own + box[:, 0]) / 2, own)  # noqa: B023

            value = jax.tree.map(average, value, inbox)
        value = optax.tree.cast_like(value, x)
        return value, tuple(states)

    return Mixer(init, update, lambda x: np.full(n, rounds * float(payload(x))))


class PushSumState(NamedTuple):
    """State of :func:`push_sum`.

    Attributes:
        weight: push-sum weight of every client, ``[n]``.
        last: last de-biased value of every client, ``[n, ...]``.
        senders: indices of the senders, int32 ``[n, K]``.
        shares: share of the sender's value that goes over this link, ``[n, K]`` (0 where padded).
        kept: share of its value that a client keeps, ``[n]``.
        channel: state of the channel.
    """

    weight: Array
    last: PyTree
    senders: Array
    shares: Array
    kept: Array
    channel: PyTree


def push_sum(
    graph: nx.DiGraph, channel: Channel | None = None, *, nodes: Sequence[Any] | None = None
) -> Mixer:
    """Builds a mixer that averages over a directed graph with column-stochastic weights.

    Client j splits its value evenly over itself and its successors, ``P_ij = 1/(1 + out_j)``:

        y_i(t+1/2) = w_i z_i + u_i,    y(t+1) = P y(t+1/2),    w(t+1) = P w,    z_i = y_i / w_i

    where ``z`` is the result of the mixer and ``u_i = x_i - z_i`` the change in the local step.
    If all in- and out-degrees are equal, w stays 1. A lost message loses its value and its weight.

    Args:
        graph: strongly connected networkx DiGraph; an edge (j, i) lets j send to i.
        channel: what happens to messages in transit, which are pairs (value, weight); None for
            reliable links.
        nodes: order of the clients, as for :func:`jcollab.topology.from_networkx`.

    Raises:
        TypeError: if ``graph`` is not a DiGraph or ``channel`` is not a Channel.
        ValueError: if the graph is empty, not strongly connected or has edge weights, which
            push-sum does not use; if ``nodes`` does not list the nodes of the graph; in ``init``,
            if n differs.

    Example:
        >>> graph = nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2)])
        >>> mixer, x = jc.mixing.push_sum(graph), jnp.array([0.0, 3.0, 6.0])
        >>> s, update = mixer.init(x), jax.jit(mixer.update)
        >>> for t in range(50):
        ...     x, s = update(x, s, jc.core.Round(jax.random.key(0), t))
        >>> [round(float(value), 3) for value in x]
        [3.0, 3.0, 3.0]

    Source: Kempe et al. 2003; Assran et al. 2019, arXiv 1811.10792 (SGP).
    """
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise TypeError(f"graph must be a networkx DiGraph, got {type(graph).__name__}")
    if graph.number_of_nodes() == 0 or not nx.is_strongly_connected(graph):
        parts = nx.number_strongly_connected_components(graph)
        raise ValueError(f"graph must be strongly connected, got {parts} components")
    if weighted := next((edge for edge in graph.edges(data="weight") if edge[2] is not None), None):
        raise ValueError(f"graph must have no edge weights, got {weighted}")
    listed, names = ordered_nodes(graph, nodes)
    order = {node: i for i, node in enumerate(listed)}
    n, link = len(order), channels.reliable() if channel is None else channel
    checks.kind(Channel, channel=link)
    # A self loop in the graph is ignored: every client keeps a share of its value anyway.
    in_neighbors = [
        [order[j] for j in graph.predecessors(node) if order[j] != i] for node, i in order.items()
    ]
    out = np.array([sum(order[j] != i for j in graph.successors(v)) for v, i in order.items()])
    width = max(1, *map(len, in_neighbors))
    # Padded slots read the client itself, with share 0.
    senders = np.stack(
        [np.array([*h, *[i] * (width - len(h))]) for i, h in enumerate(in_neighbors)]
    )
    mask = np.arange(width) < np.array([len(h) for h in in_neighbors])[:, None]
    kept = 1.0 / (1.0 + out)
    sent = layout.over_neighbors(lambda pool, table: pool[table], senders)
    from_senders = layout.over_neighbors(neighbor_sum, senders)

    def biased(leaf: Array, last: Array, weight: Array) -> Array:
        return _scale(last, weight) + (widen(leaf) - last)

    def init(x: PyTree) -> PushSumState:
        check_n(x, n)
        wide = jax.tree.map(widen, x)
        dtype = weight_dtype(x)
        inbox = (jax.tree.map(lambda leaf: leaf[senders], wide), jnp.zeros((n, width), dtype))
        return PushSumState(
            weight=jnp.ones(n, dtype),
            last=wide,
            senders=jnp.asarray(senders, jnp.int32),
            shares=jnp.asarray(np.where(mask, kept[senders], 0), dtype),
            kept=jnp.asarray(kept, dtype),
            channel=link.init(inbox),
        )

    def push(own: Array, s: PushSumState, weight: Array) -> Array:
        """Computes the new values of one round over reliable links."""
        value = from_senders(own, s.senders, s.shares, _scale(own, s.kept))
        return _scale(value, 1 / weight)

    def update(x: PyTree, s: PushSumState, context: Round) -> tuple[PyTree, Any]:
        check_given(x, n, s, PushSumState)
        own = jax.tree.map(lambda leaf, last: biased(leaf, last, s.weight), x, s.last)
        if channel is None:
            weight = from_senders(s.weight, s.senders, s.shares, s.weight * s.kept)
            known = s._replace(last=(), channel=())
            last = jax.tree.map(lambda leaf: layout.by_columns(push, leaf, known, weight), own)
            return optax.tree.cast_like(last, x), s._replace(weight=weight, last=last)

        # Value and weight travel as one message, so that a loss removes the same share of both and
        # their ratio z remains an average.
        pair = (own, s.weight)
        inbox = jax.tree.map(lambda leaf: _scale(sent(leaf, s.senders), s.shares), pair)
        wire = Wire(context.key, context.step, pair, pair, jnp.arange(n), s.senders, s.shares)
        inbox, arrived, state = link.update(inbox, s.shares > 0, s.channel, wire)

        def gather(own: Array, box: Array) -> Array:
            return _scale(own, s.kept) + where(arrived, box, 0).sum(1)

        value, weight = jax.tree.map(gather, pair, inbox)
        last = jax.tree.map(lambda leaf: _scale(leaf, 1 / weight), value)
        fresh = optax.tree.cast_like(last, x)
        return fresh, s._replace(weight=weight, last=last, channel=state)

    def bytes_sent(x: PyTree) -> np.ndarray:
        weight = weight_dtype(x).itemsize  # part of every message
        return out * float(payload(x) + weight)

    return Mixer(init, update, bytes_sent, names)


def _scale(leaf: Array, factor: Array) -> Array:
    return leaf * factor.astype(leaf.dtype).reshape(
        *factor.shape, *(1,) * (leaf.ndim - factor.ndim)
    )
