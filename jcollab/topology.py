"""Who talks to whom: graphs from networkx, as the padded neighbour lists that compiled code reads.

Clients are numbered 0..n-1 and every graph is connected, undirected and without self loops.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse

DENSE_EIGENVALUES_UP_TO = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """A communication graph.

    Attributes:
        graph: networkx graph with nodes 0..n-1.
        name: what plots and tables call it.
    """

    graph: nx.Graph
    name: str = "graph"

    @property
    def n(self) -> int:
        """Number of clients."""
        return self.graph.number_of_nodes()

    @functools.cached_property
    def degrees(self) -> np.ndarray:
        """Number of neighbours of every client, int ``[n]``."""
        return np.array([self.graph.degree[i] for i in range(self.n)], dtype=np.int32)

    @functools.cached_property
    def neighbors(self) -> np.ndarray:
        """Neighbours in ascending order, int32 ``[n, K]``; padded with the client itself."""
        table = np.tile(np.arange(self.n, dtype=np.int32)[:, None], (1, self._slots))
        for i in range(self.n):
            table[i, : self.degrees[i]] = sorted(self.graph.adj[i])
        return table

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """True where a slot holds a neighbour, bool ``[n, K]``."""
        return np.arange(self._slots)[None, :] < self.degrees[:, None]

    @functools.cached_property
    def reverse(self) -> np.ndarray:
        """Slot in which ``neighbors[i, k]`` keeps client i, int32 ``[n, K]`` (0 where padded)."""
        slot = {(i, j): k for i in range(self.n) for k, j in enumerate(sorted(self.graph.adj[i]))}
        table = np.zeros((self.n, self._slots), np.int32)
        for (i, j), k in slot.items():
            table[i, k] = slot[j, i]
        return table

    @functools.cached_property
    def metropolis(self) -> np.ndarray:
        """Metropolis-Hastings weight of every slot, float64 ``[n, K]`` (0 where padded).

        ``w_ij = 1 / (1 + max(deg_i, deg_j))``; the weight of a client's own value is the rest.
        """
        degrees = self.degrees
        weights = 1.0 / (1.0 + np.maximum(degrees[:, None], degrees[self.neighbors]))
        return np.where(self.mask, weights, 0.0)

    @property
    def is_tree(self) -> bool:
        """Whether the graph has no cycle."""
        return self.graph.number_of_edges() == self.n - 1

    @functools.cached_property
    def diameter(self) -> int:
        """Largest number of hops between two clients."""
        return nx.diameter(self.graph)

    @functools.cached_property
    def distances(self) -> np.ndarray:
        """Hops between all clients, int ``[n, n]``."""
        adjacency = nx.to_scipy_sparse_array(self.graph, nodelist=range(self.n), weight=None)
        return scipy.sparse.csgraph.shortest_path(adjacency, unweighted=True).astype(np.int64)

    @property
    def _slots(self) -> int:
        return max(1, int(self.degrees.max()))


def from_networkx(graph: nx.Graph, name: str = "graph") -> Topology:
    """Any connected, undirected networkx graph; nodes are numbered in the graph's own order.

    Raises:
        TypeError: if ``graph`` is no networkx graph.
        ValueError: if it is empty, directed, has parallel edges or self loops, or is unconnected.
    """
    if not isinstance(graph, nx.Graph):
        raise TypeError(f"graph must be a networkx graph, got {type(graph).__name__}")
    if graph.number_of_nodes() == 0:
        raise ValueError("graph must have at least one node, got none")
    if graph.is_directed() or graph.is_multigraph():
        raise ValueError("graph must be undirected and without parallel edges")
    if nx.number_of_selfloops(graph):
        loops = list(nx.nodes_with_selfloops(graph))
        raise ValueError(f"graph must have no self loops, got them at {loops}")
    if not nx.is_connected(graph):
        raise ValueError(
            f"graph must be connected, got {nx.number_connected_components(graph)} components"
        )
    plain: nx.Graph = nx.Graph()
    plain.add_nodes_from(range(graph.number_of_nodes()))
    number = {node: i for i, node in enumerate(graph)}
    plain.add_edges_from((number[u], number[v]) for u, v in graph.edges)
    return Topology(plain, name)


def as_topology(topology: Any, argument: str = "topology") -> Topology:
    """A Topology from itself or from a networkx graph; TypeError for anything else."""
    if isinstance(topology, Topology):
        return topology
    if isinstance(topology, nx.Graph):
        return from_networkx(topology)
    raise TypeError(
        f"{argument} must be a Topology or a networkx graph, got {type(topology).__name__}"
    )


def require_tree(topology: Topology, argument: str = "topology") -> None:
    """ValueError that names a cycle, unless ``topology`` is a tree."""
    if not topology.is_tree:
        cycle = [u for u, _ in nx.find_cycle(topology.graph)]
        raise ValueError(
            f"{argument} must be a tree, but {topology.name} has the cycle {cycle}; "
            "spanning_tree(topology) drops the edges that close cycles"
        )


def require_n(n: int, least: int = 1) -> None:
    """ValueError unless ``n`` is at least ``least``."""
    if n < least:
        raise ValueError(f"n must be at least {least}, got {n}")


def chain(n: int) -> Topology:
    """Clients in a line: edges i -- i+1."""
    require_n(n)
    return from_networkx(nx.path_graph(n), "chain")


def ring(n: int) -> Topology:
    """Clients in a circle: edges i -- i+1 (mod n); a chain for n < 3."""
    require_n(n)
    return from_networkx(nx.cycle_graph(n) if n > 2 else nx.path_graph(n), "ring")


def torus(rows: int, columns: int) -> Topology:
    """A ``rows`` x ``columns`` grid that is closed in both directions, numbered row by row."""
    require_n(rows)
    require_n(columns)
    graph = nx.grid_2d_graph(rows, columns, periodic=(rows > 2, columns > 2))
    return from_networkx(graph, "torus")


def star(n: int) -> Topology:
    """Client 0 in the middle, joined to all others."""
    require_n(n)
    return from_networkx(nx.star_graph(n - 1), "star")


def complete(n: int) -> Topology:
    """Everybody talks to everybody."""
    require_n(n)
    return from_networkx(nx.complete_graph(n), "complete")


def binary_tree(n: int, *, reverse: bool = False) -> Topology:
    """Binary tree with edges 0 -- 1 and i -- floor(i/2) for i >= 2 (degree at most 3).

    Args:
        n: number of clients.
        reverse: relabels i as n-1-i. A tree and its reversed twin share no inner client but the
            middle ones, so together they use every client's links evenly.

    Source: Vogels et al. 2021, arXiv 2110.04175.
    """
    require_n(n)
    graph = nx.empty_graph(n)
    graph.add_edges_from((max(i // 2, 1) if i > 1 else 0, i) for i in range(1, n))
    if reverse:
        twin = nx.empty_graph(n)
        twin.add_edges_from((n - 1 - u, n - 1 - v) for u, v in graph.edges)
        graph = twin
    return from_networkx(graph, "binary tree" + (" (reversed)" if reverse else ""))


def hypercube(n: int) -> Topology:
    """Clients whose numbers differ in one binary digit are joined; n must be a power of two."""
    if n < 1 or n & (n - 1):
        raise ValueError(f"n must be a power of two for a hypercube, got {n}")
    graph = nx.empty_graph(n)
    graph.add_edges_from((i, i ^ (1 << k)) for i in range(n) for k in range((n - 1).bit_length()))
    return from_networkx(graph, "hypercube")


def exponential(n: int) -> Topology:
    """Static, undirected exponential graph: i is joined to i +- 2^k (mod n) for all 2^k < n."""
    require_n(n)
    graph = nx.circulant_graph(n, [1 << k for k in range((n - 1).bit_length())])
    return from_networkx(graph, "exponential")


def social_network() -> Topology:
    """The Davis Southern Women graph: 32 clients, 89 edges (18 women, then 14 events)."""
    return from_networkx(nx.davis_southern_women_graph(), "social network")


def spanning_tree(topology: Topology | nx.Graph, root: int = 0) -> Topology:
    """Breadth-first spanning tree: every client keeps its smallest shortest path to the root.

    Args:
        topology: any topology.
        root: client at which the tree starts, 0..n-1.

    Raises:
        ValueError: if root is no client.
    """
    topology = as_topology(topology)
    if not 0 <= root < topology.n:
        raise ValueError(f"root must be in 0..{topology.n - 1}, got {root}")
    tree = nx.empty_graph(topology.n)
    # ascending neighbours at every node make the path lexicographically smallest
    tree.add_edges_from(nx.bfs_edges(topology.graph, root, sort_neighbors=sorted))
    return Topology(tree, f"{topology.name} tree")


def mixing_matrix(topology: Topology | nx.Graph) -> np.ndarray:
    """Dense Metropolis-Hastings matrix W, float64 ``[n, n]``: symmetric, doubly stochastic."""
    topology = as_topology(topology)
    matrix = np.zeros((topology.n, topology.n))
    rows = np.repeat(np.arange(topology.n), topology.degrees)
    matrix[rows, topology.neighbors[topology.mask]] = topology.metropolis[topology.mask]
    np.fill_diagonal(matrix, 1.0 - matrix.sum(1))
    return matrix


def spectral_gap(topology: Topology | nx.Graph | np.ndarray) -> float:
    """``1 - max(|lambda_2|, |lambda_n|)`` of the mixing matrix; 0 never mixes, 1 mixes at once.

    Args:
        topology: a topology (its Metropolis-Hastings matrix is used) or a symmetric matrix W.
    """
    eigenvalues = mixing_eigenvalues(topology)
    return 1.0 - (max(abs(eigenvalues[0]), abs(eigenvalues[-2])) if len(eigenvalues) > 1 else 0.0)


def mixing_eigenvalues(topology: Topology | nx.Graph | np.ndarray) -> np.ndarray:
    """Eigenvalues of W in ascending order, all of them for n <= 2000, else the outermost three."""
    if isinstance(topology, np.ndarray):
        return np.linalg.eigvalsh(check_mixing_matrix(topology))
    topology = as_topology(topology)
    if topology.n <= DENSE_EIGENVALUES_UP_TO:
        return np.linalg.eigvalsh(mixing_matrix(topology))
    rows = np.repeat(np.arange(topology.n), topology.degrees)
    weights = topology.metropolis[topology.mask]
    columns = topology.neighbors[topology.mask]
    off = scipy.sparse.csr_array((weights, (rows, columns)), shape=(topology.n, topology.n))
    matrix = off + scipy.sparse.diags_array(1.0 - topology.metropolis.sum(1))
    largest = scipy.sparse.linalg.eigsh(matrix, 2, which="LA", return_eigenvectors=False)
    smallest = scipy.sparse.linalg.eigsh(matrix, 1, which="SA", return_eigenvectors=False)
    return np.sort(np.concatenate([smallest, largest]))


def check_mixing_matrix(matrix: Any, *, symmetric: bool = True, argument: str = "W") -> np.ndarray:
    """Returns W as float64 ``[n, n]`` after checking that averaging with it keeps the mean.

    Args:
        matrix: array-like ``[n, n]``.
        symmetric: whether W must equal its transpose.
        argument: the name used in errors.

    Raises:
        ValueError: if W is not square, finite, non-negative, doubly stochastic or, where that is
            required, not symmetric.
    """
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
                f"{argument} must be doubly stochastic, but {what} {worst} sums to {sums[worst]:g}"
            )
    if symmetric and not np.allclose(matrix, matrix.T, atol=1e-9):
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise ValueError(
            f"{argument} must be symmetric, but {argument}[{i}, {j}] is {matrix[i, j]:g} and "
            f"{argument}[{j}, {i}] is {matrix[j, i]:g}"
        )
    return matrix


def learning_rate_correction(topology: Topology | nx.Graph, *, overlap: bool = False) -> float:
    """Factor C by which RelaySum's delays shrink a step: its effective step size is gamma / C.

        C = 1 + (1/n^2) sum_ij max(d_ij - 1, 0) = 1/n + (1/n^2) sum_ij d_ij

    Args:
        topology: a tree.
        overlap: for the overlapped form, whose delays are ``d_ij``: ``C = 1 + mean d_ij``.

    Raises:
        ValueError: if the graph has a cycle.

    Source: Vogels et al. 2021, arXiv 2110.04175, appendix (there by simulation).
    """
    topology = as_topology(topology)
    require_tree(topology)
    return float((1.0 if overlap else 1.0 / topology.n) + topology.distances.mean())


def constant_weights(topology: Topology | nx.Graph, weight: float) -> np.ndarray:
    """Mixing matrix with one weight on every edge, float64 ``[n, n]``; the diagonal is the rest.

    Args:
        topology: any topology.
        weight: w > 0, at most 1 / (largest degree), so that the diagonal stays non-negative.

    Raises:
        ValueError: if the weight is out of range.
    """
    topology = as_topology(topology)
    most = 1 / max(1, int(topology.degrees.max()))
    if not 0 < weight <= most:
        raise ValueError(f"weight must be in (0, {most:g}] for {topology.name}, got {weight}")
    matrix = weight * nx.to_numpy_array(topology.graph, nodelist=range(topology.n))
    np.fill_diagonal(matrix, 1.0 - matrix.sum(1))
    return matrix


def draw(
    topology: Topology | nx.Graph,
    ax: Any = None,
    values: Any = None,
    positions: Any = None,
    **kwargs: Any,
) -> Any:
    """Draws the graph with a layout that suits it.

    Args:
        topology: a topology.
        ax: matplotlib axes; None for the current ones.
        values: one number or colour per client ``[n]``.
        positions: ``[n, 2]``; None for a layout that suits the graph.
        **kwargs: handed on to ``networkx.draw_networkx``.

    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt

    topology = as_topology(topology)
    ax = ax or plt.gca()
    style = {"node_color": "#4c78a8" if values is None else values, "edge_color": "#9aa0a6"}
    style |= {"node_size": 180, "font_size": 7, "font_color": "white", "linewidths": 0}
    where = _positions(topology) if positions is None else dict(enumerate(positions))
    nx.draw_networkx(topology.graph, where, ax=ax, **(style | kwargs))
    ax.set_axis_off()
    return ax


def _positions(topology: Topology) -> dict[int, Any]:
    if topology.is_tree and topology.degrees.max() <= 2:
        order = list(nx.dfs_preorder_nodes(topology.graph, int(topology.degrees.argmin())))
        # a snake of rows keeps long chains readable
        width = int(np.ceil(np.sqrt(2 * topology.n)))
        grid = [(i % width, -(i // width)) for i in range(topology.n)]
        return {
            node: np.array([width - 1 - x if y % 2 else x, y], float)
            for node, (x, y) in zip(order, grid, strict=True)
        }
    if topology.is_tree:
        return nx.bfs_layout(topology.graph, nx.center(topology.graph)[0], align="horizontal")
    if topology.name == "ring" or topology.n <= 32:
        return nx.circular_layout(topology.graph)
    return nx.kamada_kawai_layout(topology.graph)
