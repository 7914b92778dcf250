"""Mixers: how clients average what they exchange. Averages are taken in float32 or wider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from jcollab import channels, layout
from jcollab.aggregators import Rule
from jcollab.core import Array, Channel, Mixer, PyTree, Wire
from jcollab.topology import (
    Topology,
    as_topology,
    check_mixing_matrix,
    mixing_matrix,
    require_tree,
)

Fill = Literal["initial", "previous", "own", "zero", "counts"]
DENSE_UP_TO = 64


def identity() -> Mixer:
    """Nobody talks: ``x_i' = x_i``."""
    return Mixer(lambda x: (), lambda x, s, *, key, step: (x, s), _no_bytes)


def all_reduce() -> Mixer:
    """The exact mean: ``x_i' = (1/n) sum_j x_j``.

    ``bytes_sent`` counts one model per client and round, as Vogels et al. 2021 do; a ring
    all-reduce sends ``2 (n-1)/n`` of one.
    """

    def update(x: PyTree, s: PyTree, *, key: Array, step: Array) -> tuple[PyTree, PyTree]:
        def mean(leaf: Array) -> Array:
            average = jnp.mean(_widen(leaf), axis=0, keepdims=True)
            return jnp.broadcast_to(average, leaf.shape).astype(leaf.dtype)

        return jax.tree.map(mean, x), s

    return Mixer(lambda x: (), update, lambda x: np.full(layout.num_clients(x), payload(x)))


def gossip(
    topology: Topology | nx.Graph | Any,
    *,
    sparse: bool | None = None,
    symmetric: bool = True,
) -> Mixer:
    """Weighted averaging with the neighbours: ``x_i' = sum_j W_ij x_j``.

    Args:
        topology: a topology, mixed with its Metropolis-Hastings weights, or a doubly stochastic
            matrix W ``[n, n]`` in which ``W_ij`` weighs what i hears from j.
        sparse: neighbour lists (memory and time linear in the edges) or one matrix product; None
            takes lists for more than 64 clients on a sparse graph.
        symmetric: whether a given W must be symmetric; False admits directed graphs.

    Raises:
        ValueError: for a W that is not square, non-negative and doubly stochastic, or not
            symmetric where it must be; at ``init``, if n differs between ``x`` and the topology.

    Source: Xiao and Boyd 2004; D-PSGD of Lian et al. 2017, arXiv 1705.09056.
    """
    if isinstance(topology, (Topology, nx.Graph)):
        topology = as_topology(topology)
        n, degrees = topology.n, topology.degrees
    else:
        matrix = check_mixing_matrix(topology, symmetric=symmetric)
        off = matrix * (1 - np.eye(len(matrix)))
        n, degrees = len(matrix), np.count_nonzero(off, axis=0)
    width = max(1, int(degrees.max()))
    if sparse is None:
        sparse = n > DENSE_UP_TO and width < n // 4

    def init(x: PyTree) -> PyTree:
        _check_n(x, n)
        if not sparse:
            dense = mixing_matrix(topology) if isinstance(topology, Topology) else matrix
            return jnp.asarray(dense, _weight_dtype(x))
        if isinstance(topology, Topology):
            table, weights = topology.neighbors, topology.metropolis
        else:
            table, weights = _neighbor_table(matrix)
        return jnp.asarray(table), jnp.asarray(weights, _weight_dtype(x))

    def update(x: PyTree, s: PyTree, *, key: Array, step: Array) -> tuple[PyTree, PyTree]:
        average = _sparse_average if sparse else _dense_average
        return jax.tree.map(lambda leaf: average(leaf, s), x), s

    return Mixer(init, update, lambda x: degrees * float(payload(x)))


def _dense_average(leaf: Array, matrix: Array) -> Array:
    wide = _widen(leaf)
    # accelerators would otherwise multiply in a shorter format and let the mean drift
    product = jnp.einsum("ij,j...->i...", matrix.astype(wide.dtype), wide, precision="highest")
    return product.astype(leaf.dtype)


def _sparse_average(leaf: Array, table: tuple[Array, Array]) -> Array:
    neighbors, weights = table
    wide = _widen(leaf)
    weights = weights.astype(wide.dtype).reshape(*weights.shape, *(1,) * (leaf.ndim - 1))
    total = (1 - weights.sum(1)) * wide
    # one slot at a time: the gathers fuse into a single pass over memory
    for k in range(neighbors.shape[1]):
        total += weights[:, k] * wide[neighbors[:, k]]
    return total.astype(leaf.dtype)


def _neighbor_table(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    off = matrix * (1 - np.eye(len(matrix)))
    width = max(1, int(np.count_nonzero(off, axis=1).max()))
    table = np.tile(np.arange(len(matrix), dtype=np.int32)[:, None], (1, width))
    weights = np.zeros(table.shape)
    for i, row in enumerate(off):
        (senders,) = np.nonzero(row)
        table[i, : len(senders)] = senders
        weights[i, : len(senders)] = row[senders]
    return table, weights


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
        _check_n(x, n)
        width = topology.neighbors.shape[1]
        inbox = jax.tree.map(
            lambda leaf: jnp.zeros((n, width, *leaf.shape[1:]), _widen(leaf).dtype), x
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
            return _where(s.mask, outgoing[s.neighbors, s.reverse], 0)

        wide = jax.tree.map(_widen, x)
        received = jax.tree.map(deliver, wide, s.inbox)
        counts = deliver(jnp.ones(n, jnp.int32), s.counts)
        wire = Wire(key, step, x, s.neighbors, s.mask / n)
        received, arrived, link_state = link.update(received, s.mask, s.channel, wire)
        received = jax.tree.map(lambda leaf: _where(arrived, leaf, 0), received)
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
        _check_n(x, topology.n)
        inbox = jax.tree.map(lambda leaf: leaf[topology.neighbors], x)
        return NeighborhoodState(
            jnp.asarray(topology.neighbors),
            jnp.asarray(topology.metropolis, _weight_dtype(x)),
            jnp.asarray(topology.mask),
            link.init(inbox),
        )

    def update(
        x: PyTree, s: NeighborhoodState, *, key: Array, step: Array
    ) -> tuple[PyTree, NeighborhoodState]:
        wide = jax.tree.map(_widen, x)
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


def every(period: int, mixer: Mixer) -> Mixer:
    """Mixes after every ``period``-th round only, so that ``period`` local steps lie between.

    Raises:
        ValueError: if period < 1.
    """
    if period < 1:
        raise ValueError(f"period must be at least 1, got {period}")

    def update(x: PyTree, s: PyTree, *, key: Array, step: Array) -> tuple[PyTree, PyTree]:
        return jax.lax.cond(
            (step + 1) % period == 0,
            lambda x, s: mixer.update(x, s, key=key, step=step),
            lambda x, s: (x, s),
            x,
            s,
        )

    return Mixer(mixer.init, update, lambda x: mixer.bytes_sent(x) / period)


def on(select: Callable[[str, Array], bool], mixer: Mixer) -> Mixer:
    """Mixes a part of the pytree and leaves the rest to the clients (personal heads, say).

    Args:
        select: ``select(path, leaf) -> bool``; the path reads like ``"params/Dense_0/kernel"``.
        mixer: what the selected leaves go through, as a list of arrays.

    Raises:
        ValueError: at ``init``, if nothing is selected.

    Example:
        >>> body_only = on(lambda path, leaf: "head" not in path, all_reduce())
    """

    def chosen(x: PyTree) -> list[bool]:
        leaves = jax.tree_util.tree_leaves_with_path(x)
        paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
        flags = [select(path, leaf) for path, (_, leaf) in zip(paths, leaves, strict=True)]
        if not any(flags):
            raise ValueError(f"select must choose at least one of {paths}, got none")
        return flags

    def part(x: PyTree) -> list[Array]:
        return [leaf for leaf, flag in zip(jax.tree.leaves(x), chosen(x), strict=True) if flag]

    def update(x: PyTree, s: PyTree, *, key: Array, step: Array) -> tuple[PyTree, PyTree]:
        mixed, s = mixer.update(part(x), s, key=key, step=step)
        fresh = iter(mixed)
        leaves, structure = jax.tree.flatten(x)
        flags = zip(leaves, chosen(x), strict=True)
        merged = [next(fresh) if flag else leaf for leaf, flag in flags]
        return jax.tree.unflatten(structure, merged), s

    return Mixer(lambda x: mixer.init(part(x)), update, lambda x: mixer.bytes_sent(part(x)))


def payload(x: PyTree) -> int:
    """Bytes of one client's share of ``x``, whose leaves are ``[n, ...]``."""
    return sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(x))


def _no_bytes(x: PyTree) -> np.ndarray:
    return np.zeros(layout.num_clients(x))


def _widen(leaf: Array) -> Array:
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def _weight_dtype(x: PyTree) -> Any:
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(x)))


def _where(mask: Array, leaf: Array, other: Any) -> Array:
    return jnp.where(mask.reshape(*mask.shape, *(1,) * (leaf.ndim - mask.ndim)), leaf, other)


def _check_n(x: PyTree, n: int) -> None:
    got = layout.num_clients(x, "params")
    if got != n:
        raise ValueError(f"topology has n={n} clients, but params are stacked for n={got}")
