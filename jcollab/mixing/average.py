"""Mixers that average over all clients or over the neighbors in a graph."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Mixer, PyTree, Round, widen
from jcollab.mixing.common import (
    check_n,
    neighbor_sum,
    no_bytes,
    num_mixed,
    payload,
    weight_dtype,
)
from jcollab.topology import Topology, as_topology, check_mixing_matrix, mixing_matrix
from jcollab.topology.weights import check_connected

# A small W costs less as one matrix product than as a chain of gathers, one for each neighbor slot.
DENSE_UP_TO = 64


def identity() -> Mixer:
    """Builds a mixer that exchanges nothing: ``x_i' = x_i``.

    Example:
        >>> mixer, x = jc.identity(), jnp.array([0.0, 3.0, 6.0])
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> mixed.tolist()
        [0.0, 3.0, 6.0]
    """
    return Mixer(lambda x: (), lambda x, s, context: (x, s), no_bytes)


def all_reduce() -> Mixer:
    """Builds a mixer that computes the exact mean: ``x_i' = (1/n) sum_j x_j``.

    ``bytes_sent`` counts one model per client and round, as Vogels et al. 2021 do; a ring
    all-reduce sends ``2 (n-1)/n`` models.

    Example:
        >>> mixer, x = jc.all_reduce(), jnp.array([0.0, 3.0, 6.0])
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> mixed.tolist()
        [3.0, 3.0, 3.0]
    """

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        def mean(leaf: Array) -> Array:
            average = jnp.mean(widen(leaf), axis=0, keepdims=True)
            return jnp.broadcast_to(average, leaf.shape).astype(leaf.dtype)

        return jax.tree.map(mean, x), s

    def init(x: PyTree) -> PyTree:
        num_mixed(x)
        return ()

    return Mixer(init, update, lambda x: np.full(layout.num_clients(x), payload(x)))


def gossip(
    topology: Topology | nx.Graph | Any,
    *,
    sparse: bool | None = None,
    symmetric: bool = True,
) -> Mixer:
    """Builds a mixer that averages with the neighbors: ``x_i' = sum_j W_ij x_j``.

    Args:
        topology: a topology, whose mixing weights are used, or a doubly stochastic matrix W
            ``[n, n]``, in which ``W_ij`` is the weight of client j's value at client i. The values
            of a traced W are not checked.
        sparse: True uses neighbor lists (memory and time linear in the number of edges), False one
            matrix product. None selects lists for sparse graphs with more than 64 clients.
        symmetric: whether a given W must be symmetric; False permits directed graphs.

    Raises:
        ValueError: if W is not square, non-negative, doubly stochastic and connected, or not
            symmetric although it must be; if n differs between ``x`` and the topology; if
            ``sparse`` is True for a traced W.

    Example:
        >>> mixer, x = jc.gossip(jc.topology.chain(3)), jnp.array([0.0, 3.0, 6.0])
        >>> mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(jax.random.key(0), 0))
        >>> [round(float(value), 3) for value in mixed]
        [1.0, 3.0, 5.0]

    Source: Xiao and Boyd 2004; D-PSGD of Lian et al. 2017, arXiv 1705.09056.
    """
    if isinstance(topology, (Topology, nx.Graph)):
        topology = as_topology(topology)
        n, degrees = topology.n, topology.degrees
    else:
        matrix = check_mixing_matrix(topology, symmetric=symmetric)
        check_connected(matrix)
        n, off = len(matrix), matrix * (1 - np.eye(len(matrix)))
        traced = checks.traced(matrix)
        # Column j of W contains the weights of client j at its receivers. Which entries of a traced
        # W are zero is unknown, so every client counts as a neighbor of every other one.
        degrees = np.full(n, n - 1) if traced else np.count_nonzero(off, axis=0)
        if traced and sparse:
            raise ValueError("sparse must be False for a traced W, got True")
    width = max(1, int(degrees.max()))
    if sparse is None:
        sparse = n > DENSE_UP_TO and width < n // 4

    if isinstance(topology, Topology):
        table, weights = topology.neighbors, topology.weights
    elif sparse:
        table, weights = _neighbor_table(matrix)

    # W and the lists are part of the state because their rows lead with the client axis: on a mesh
    # each device stores the rows of its clients only.
    def init(x: PyTree) -> PyTree:
        check_n(x, n)
        if not sparse:
            dense = mixing_matrix(topology) if isinstance(topology, Topology) else matrix
            return jnp.asarray(dense, weight_dtype(x))
        return jnp.asarray(table), jnp.asarray(weights, weight_dtype(x))

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        check_n(x, n)
        if not sparse:
            return jax.tree.map(lambda leaf: dense_average(leaf, s), x), s
        # The layout needs the NumPy table, which is known while the program is traced, to plan
        # which rows cross devices.
        average = layout.over_neighbors(_sparse_average, table)
        return jax.tree.map(lambda leaf: layout.by_columns(average, leaf, *s), x), s

    names = topology.names if isinstance(topology, Topology) else None
    return Mixer(init, update, lambda x: degrees * float(payload(x)), names)


def dense_average(leaf: Array, matrix: Array) -> Array:
    """Computes ``sum_j W_ij x_j`` as one matrix product, ``[n, ...]``."""
    wide = widen(leaf)
    # By default, accelerators multiply in a shorter format, and the mean would drift.
    product = jnp.einsum("ij,j...->i...", matrix.astype(wide.dtype), wide, precision="highest")
    return product.astype(leaf.dtype)


def _sparse_average(pool: Array, neighbors: Array, weights: Array) -> Array:
    wide = widen(pool)
    # The pool begins with the rows of the clients themselves; rows from other devices follow. The
    # own weight is the remainder, so rows sum to 1 after the weights are rounded to this type.
    rest = 1 - weights.astype(wide.dtype).sum(1)
    own = rest.reshape(-1, *(1,) * (pool.ndim - 1)) * wide[: len(neighbors)]
    return neighbor_sum(wide, neighbors, weights, own).astype(pool.dtype)


def _neighbor_table(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    off = matrix * (1 - np.eye(len(matrix)))
    width = max(1, int(np.count_nonzero(off, axis=1).max()))
    # Padded slots contain the client itself with weight 0, so every index is valid.
    table = np.tile(np.arange(len(matrix), dtype=np.int32)[:, None], (1, width))
    weights = np.zeros(table.shape)
    for i, row in enumerate(off):
        (senders,) = np.nonzero(row)
        table[i, : len(senders)] = senders
        weights[i, : len(senders)] = row[senders]
    return table, weights
