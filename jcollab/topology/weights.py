"""Mixing matrices, their checks and their spectral gap."""

from __future__ import annotations

import dataclasses
from typing import Any

import networkx as nx
import numpy as np

from jcollab import checks
from jcollab.topology.graph import Topology, as_topology, require_tree

DENSE_EIGENVALUES_UP_TO = 2000  # clients; all eigenvalues take O(n^3) time


def mixing_matrix(topology: Topology | nx.Graph) -> Any:
    """Returns the symmetric, doubly stochastic mixing matrix W of a topology, float64 ``[n, n]``.

    Example:
        >>> jc.topology.mixing_matrix(jc.topology.chain(3)).round(2)
        array([[0.67, 0.33, 0.  ],
               [0.33, 0.33, 0.33],
               [0.  , 0.33, 0.67]])
    """
    topology = as_topology(topology)
    if topology.matrix is not None:
        return topology.matrix.copy()
    matrix = np.zeros((topology.n, topology.n))
    rows = np.repeat(np.arange(topology.n), topology.degrees)
    matrix[rows, topology.neighbors[topology.mask]] = topology.weights[topology.mask]
    np.fill_diagonal(matrix, 1.0 - matrix.sum(1))
    return matrix


def spectral_gap(topology: Topology | nx.Graph | np.ndarray) -> float:
    """Computes ``1 - max(|lambda_2|, |lambda_n|)`` of the mixing matrix.

    A gap of 1 means that one exchange computes the mean; with gap 0, gossip does not converge.

    Args:
        topology: a topology, whose mixing matrix is used, or a symmetric matrix W.

    Example:
        >>> families = jc.topology.chain, jc.topology.complete
        >>> [round(float(jc.topology.spectral_gap(family(8))), 3) for family in families]
        [0.051, 1.0]
    """
    eigenvalues = mixing_eigenvalues(topology)
    return 1.0 - (max(abs(eigenvalues[0]), abs(eigenvalues[-2])) if len(eigenvalues) > 1 else 0.0)


def mixing_eigenvalues(topology: Topology | nx.Graph | np.ndarray) -> np.ndarray:
    """Computes the eigenvalues of the mixing matrix, in ascending order.

    Args:
        topology: a topology, whose mixing matrix is used, or a symmetric matrix W.

    Returns:
        All eigenvalues for a matrix, or for n <= 2000 clients; otherwise the smallest and the
        largest two.

    Example:
        >>> jc.topology.mixing_eigenvalues(jc.topology.ring(4)).round(2).tolist()
        [-0.33, 0.33, 0.33, 1.0]
    """
    if isinstance(topology, np.ndarray):
        return np.linalg.eigvalsh(check_mixing_matrix(topology))
    topology = as_topology(topology)
    if topology.n <= DENSE_EIGENVALUES_UP_TO:
        return np.linalg.eigvalsh(mixing_matrix(topology))
    import scipy.sparse.linalg  # slow to import

    rows = np.repeat(np.arange(topology.n), topology.degrees)
    weights = topology.weights[topology.mask]
    columns = topology.neighbors[topology.mask]
    off = scipy.sparse.csr_array((weights, (rows, columns)), shape=(topology.n, topology.n))
    matrix = off + scipy.sparse.diags_array(1.0 - topology.weights.sum(1))
    # The gap depends on the outermost eigenvalues alone, which Lanczos iterations find first.
    largest = scipy.sparse.linalg.eigsh(matrix, 2, which="LA", return_eigenvectors=False)
    smallest = scipy.sparse.linalg.eigsh(matrix, 1, which="SA", return_eigenvectors=False)
    return np.sort(np.concatenate([smallest, largest]))


def check_mixing_matrix(matrix: Any, *, symmetric: bool = True, argument: str = "W") -> Any:
    """Checks that averages with W keep the mean, and returns W as float64 ``[n, n]``.

    Args:
        matrix: array-like ``[n, n]``; if it is traced, only its shape is checked.
        symmetric: whether W must equal its transpose.
        argument: name of the argument in errors.

    Raises:
        ValueError: if W is not square, finite, non-negative and doubly stochastic, or not symmetric
            although it must be.
        TypeError: if W is not a matrix of numbers.

    Example:
        >>> jc.topology.check_mixing_matrix([[1, 0], [0, 1]]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if checks.traced(matrix):
        if np.ndim(matrix) != 2 or len(matrix) != matrix.shape[1]:
            raise ValueError(f"{argument} must be square, got shape {np.shape(matrix)}")
        return matrix
    if np.asarray(matrix).dtype.kind not in "biuf":
        raise TypeError(
            f"{argument} must be a matrix of numbers, or a topology, got {type(matrix).__name__}"
        )
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{argument} must be square, got shape {matrix.shape}")
    if not np.isfinite(matrix).all() or matrix.min() < -1e-9:
        raise ValueError(f"{argument} must be finite and non-negative, got {matrix.min()}")
    for axis, what in ((1, "row"), (0, "column")):
        sums = matrix.sum(axis)
        worst = int(np.abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > 1e-6:
            raise ValueError(
                f"{argument} must be doubly stochastic, got {sums[worst]:g} for {what} {worst}"
            )
    if symmetric and not np.allclose(matrix, matrix.T, atol=1e-9):
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise ValueError(
            f"{argument} must be symmetric, got {matrix[i, j]:g} at [{i}, {j}] and "
            f"{matrix[j, i]:g} at [{j}, {i}]"
        )
    return matrix


def check_connected(matrix: np.ndarray, argument: str = "W") -> None:
    """Raises ValueError if a doubly stochastic W does not connect all clients; skips a traced W."""
    if checks.traced(matrix):
        return
    seen = np.arange(len(matrix)) == 0
    fresh = seen
    # Following edges in one direction suffices: a doubly stochastic matrix that is reducible is
    # block diagonal up to the order of clients, so every path has a path back.
    while fresh.any():
        fresh = (matrix[:, fresh] != 0).any(1) & ~seen
        seen = seen | fresh
    if not seen.all():
        raise ValueError(
            f"{argument} must be connected, got no path from client 0 to client {seen.argmin()}"
        )


def with_weights(topology: Topology | nx.Graph, matrix: Any) -> Topology:
    """Returns the same graph with the mixing matrix W instead of Metropolis-Hastings weights.

    Args:
        topology: any topology.
        matrix: W ``[n, n]``, symmetric and doubly stochastic, 0 between clients that are not
            joined; an edge may have weight 0. The values of a traced W are not checked.

    Raises:
        ValueError: if W does not satisfy these conditions.

    Example:
        >>> pair = jc.topology.with_weights(jc.topology.chain(2), [[0.75, 0.25], [0.25, 0.75]])
        >>> pair.weights.tolist()
        [[0.25], [0.25]]
    """
    topology = as_topology(topology)
    matrix = check_mixing_matrix(matrix)
    if matrix.shape[0] != topology.n:
        raise ValueError(f"W must be [n={topology.n}, n] for this topology, got {matrix.shape}")
    joined = nx.to_numpy_array(topology.graph, nodelist=range(topology.n)) + np.eye(topology.n)
    # Which entries of a traced W are nonzero is unknown, so there is nothing to check.
    known = np.zeros_like(joined) if checks.traced(matrix) else matrix
    if (extra := np.argwhere((joined == 0) & (known != 0))).size:
        i, j = extra[0]
        raise ValueError(
            f"W[{i}, {j}] must be 0, since {i} and {j} are not joined, got {matrix[i, j]:g}"
        )
    return dataclasses.replace(topology, matrix=matrix)


def constant_weights(topology: Topology | nx.Graph, weight: Any) -> Any:
    """Builds a mixing matrix with the same weight on every edge, float64 ``[n, n]``.

    Args:
        topology: any topology.
        weight: w > 0, at most 1 / (largest degree), so that the diagonal, which contains the rest,
            is non-negative; may be traced.

    Raises:
        ValueError: if the weight is out of range.

    Example:
        >>> jc.topology.constant_weights(jc.topology.chain(3), 0.25)
        array([[0.75, 0.25, 0.  ],
               [0.25, 0.5 , 0.25],
               [0.  , 0.25, 0.75]])
    """
    topology = as_topology(topology)
    most = 1 / max(1, int(topology.degrees.max()))
    checks.number("weight", weight, above=0, at_most=most)
    return with_diagonal(weight * nx.to_numpy_array(topology.graph, nodelist=range(topology.n)))


def with_diagonal(off: Any) -> Any:
    """Fills the diagonal of a matrix ``[n, n]`` such that rows sum to 1; it may be traced."""
    return off + np.eye(len(off)) * (1.0 - off.sum(1))


def learning_rate_correction(topology: Topology | nx.Graph, *, overlap: bool = False) -> float:
    """Computes the factor C by which the delays of RelaySum shrink the effective step size.

    A step size gamma has the effect of gamma / C without delays:

        C = 1 + (1/n^2) sum_ij max(d_ij - 1, 0) = 1/n + (1/n^2) sum_ij d_ij

    Args:
        topology: a tree.
        overlap: whether the mixer overlaps communication, with delays ``d_ij``; then
            ``C = 1 + mean d_ij``.

    Raises:
        ValueError: if the graph has a cycle.

    Example:
        >>> round(jc.topology.learning_rate_correction(jc.topology.chain(3)), 4)  # 1 + 2/9
        1.2222

    Source: Vogels et al. 2021, arXiv 2110.04175, appendix (there by simulation).
    """
    topology = as_topology(topology)
    require_tree(topology)
    return float((1.0 if overlap else 1.0 / topology.n) + topology.distances.mean())
