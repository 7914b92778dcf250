"""A communication graph as padded neighbor lists, which compiled code reads."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import networkx as nx
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """A communication graph.

    Attributes:
        graph: networkx graph with nodes 0..n-1.
        name: its name in plots and tables.
        matrix: mixing matrix W, float64 ``[n, n]``, see :func:`jcollab.topology.with_weights`;
            None for Metropolis-Hastings weights. May be traced.
    """

    graph: nx.Graph
    name: str = "graph"
    matrix: Any = None

    @property
    def n(self) -> int:
        """Number of clients."""
        return self.graph.number_of_nodes()

    @functools.cached_property
    def degrees(self) -> np.ndarray:
        """Number of neighbors of every client, int ``[n]``."""
        return np.array([self.graph.degree[i] for i in range(self.n)], dtype=np.int32)

    @functools.cached_property
    def neighbors(self) -> np.ndarray:
        """Neighbors in ascending order, int32 ``[n, K]``; padded with the client itself."""
        table = np.tile(np.arange(self.n, dtype=np.int32)[:, None], (1, self._slots))
        for i in range(self.n):
            table[i, : self.degrees[i]] = sorted(self.graph.adj[i])
        return table

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """True where a slot has a neighbor, bool ``[n, K]``."""
        return np.arange(self._slots)[None, :] < self.degrees[:, None]

    @functools.cached_property
    def reverse(self) -> np.ndarray:
        """Slot of i at its neighbor ``neighbors[i, k]``, int32 ``[n, K]``; 0 where padded."""
        slot = {(i, j): k for i in range(self.n) for k, j in enumerate(sorted(self.graph.adj[i]))}
        table = np.zeros((self.n, self._slots), np.int32)
        for (i, j), k in slot.items():
            table[i, k] = slot[j, i]
        return table

    @functools.cached_property
    def weights(self) -> Any:
        """Mixing weight of every slot, float64 ``[n, K]`` (0 where padded).

        Metropolis-Hastings, ``w_ij = 1 / (1 + max(deg_i, deg_j))``, unless ``matrix`` is given;
        the weight of a client's own value is the rest.
        """
        if self.matrix is not None:
            weights = self.matrix[np.arange(self.n)[:, None], self.neighbors]
        else:
            degrees = self.degrees
            weights = 1.0 / (1.0 + np.maximum(degrees[:, None], degrees[self.neighbors]))
        return weights * self.mask

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
        import scipy.sparse.csgraph  # slow to import

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
        kind = type(graph).__name__
        raise ValueError(f"graph must be undirected and without parallel edges, got a {kind}")
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
            f"{argument} must be a tree, got {topology.name} with the cycle {cycle}; "
            "spanning_tree(topology) drops the edges that close cycles"
        )
