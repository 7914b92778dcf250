"""A communication graph as padded neighbor lists, which compiled code reads."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import networkx as nx
import numpy as np

from jcollab import checks
from jcollab.core import Names


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """A communication graph.

    Attributes:
        graph: connected, undirected networkx graph with nodes 0..n-1.
        name: its name in plots and tables.
        matrix: mixing matrix W, float64 ``[n, n]``, see :func:`jcollab.topology.with_weights`;
            None for Metropolis-Hastings weights. May be traced.
        names: of the clients, by number; None where they have none. A run whose data have other
            names is refused.
    """

    graph: nx.Graph
    name: str = "graph"
    matrix: Any = None
    names: Names | None = None

    def __post_init__(self) -> None:
        """Refuses a graph that is no communication graph; see :func:`from_networkx`."""
        _check_graph(self.graph)
        if not nx.is_connected(self.graph):
            parts = nx.number_connected_components(self.graph)
            raise ValueError(f"graph must be connected, got {parts} components")
        if set(self.graph) != set(range(self.n)):
            raise ValueError(
                f"graph must have the nodes 0..{self.n - 1}, got {list(self.graph)[:10]}; "
                "from_networkx numbers others and keeps their names"
            )
        if self.names is not None and len(self.names) != self.n:
            raise ValueError(f"names must be of n={self.n} clients, got {len(self.names)}")

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

    def numbers(self, clients: Any, argument: str = "clients") -> np.ndarray:
        """Numbers of clients, int ``[b]``: given by name where they have names, else by number.

        Args:
            clients: a list of them, or one.
            argument: name of the argument in errors.

        Raises:
            TypeError: if they are given by number and are no integers.
            ValueError: if one is none of the topology.
        """
        given = [clients] if isinstance(clients, str) else np.asarray(clients).reshape(-1).tolist()
        if self.names is not None:
            known = {name: i for i, name in enumerate(self.names)}
            if unknown := [client for client in given if client not in known]:
                raise ValueError(f"{argument} must be among {self.names!r}, got {unknown[0]!r}")
            return np.array([known[client] for client in given], int)
        checks.integers(argument, given, ("b",), at_least=0, at_most=self.n - 1)
        return np.array(given, int)

    @property
    def _slots(self) -> int:
        return max(1, int(self.degrees.max()))


def from_networkx(
    graph: nx.Graph,
    name: str = "graph",
    *,
    nodes: Sequence[Any] | None = None,
    weights: Literal["edges", "metropolis"] | None = None,
) -> Topology:
    """Any connected, undirected networkx graph.

    Nodes 0..n-1 are the clients of those numbers, in whatever order they were added. Others are
    numbered in the graph's own order, and are the names of the clients.

    Args:
        graph: networkx graph; its nodes are integers, texts, or what ``str`` names.
        name: in plots and tables.
        nodes: all nodes in the order of the clients' numbers, for example ``data.names``.
        weights: what the edge attribute ``weight`` is: ``"edges"`` for mixing weights ``W_ij``, of
            which a client keeps what is left to 1; ``"metropolis"`` to mix with
            Metropolis-Hastings weights all the same. None is for graphs without the attribute.

    Raises:
        TypeError: if ``graph`` is no networkx graph.
        ValueError: if it is empty, directed, has parallel edges or self loops, or is unconnected;
            if nodes are others than those of the graph; if edges have weights and ``weights`` is
            None, or not all of them do, or they are negative or sum to more than 1 at a node.

    Example:
        >>> graph = nx.Graph([("bob", "ann"), ("ann", "eve")])
        >>> list(jc.topology.from_networkx(graph).names)
        ['bob', 'ann', 'eve']
        >>> jc.topology.from_networkx(graph, nodes=["ann", "bob", "eve"]).neighbors.tolist()
        [[1, 2], [0, 1], [0, 2]]
    """
    _check_graph(graph)
    order, names = ordered_nodes(graph, nodes)
    matrix = _edge_weights(graph, order, weights)
    plain: nx.Graph = nx.Graph()
    plain.add_nodes_from(range(len(order)))
    number = {node: i for i, node in enumerate(order)}
    plain.add_edges_from((number[u], number[v]) for u, v in graph.edges)
    return Topology(plain, name, matrix, names)


def ordered_nodes(graph: nx.Graph, nodes: Sequence[Any] | None) -> tuple[list, Names | None]:
    """Nodes by the number of their client, and their names; none for nodes 0..n-1 in order."""
    natural = list(range(graph.number_of_nodes()))
    if nodes is None:
        order = natural if set(graph) == set(natural) else list(graph)
    else:
        order = list(nodes)
        if len(order) != len(natural) or set(order) != set(graph):
            raise ValueError(f"nodes must be those of the graph, {list(graph)}, got {order}")
    if order == natural:
        return natural, None
    one_kind = any(all(isinstance(node, kind) for node in order) for kind in (str, int, np.integer))
    return order, Names(order if one_kind else [str(node) for node in order])


def _check_graph(graph: Any) -> None:
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


def _edge_weights(graph: nx.Graph, order: list, weights: str | None) -> np.ndarray | None:
    """The mixing matrix of the edges' weights, ``[n, n]``; None for Metropolis-Hastings."""
    checks.one_of("weights", weights, ("edges", "metropolis", None))
    edges = list(graph.edges(data="weight"))
    given = [edge for edge in edges if edge[2] is not None]
    if weights is None and given:
        raise ValueError(
            f"graph must be without weights of edges, got {given[0]}; from_networkx(graph, "
            "weights='edges') takes them as mixing weights W_ij, weights='metropolis' ignores them"
        )
    if weights != "edges":
        return None
    for u, v, weight in edges:
        if weight is None:
            raise ValueError(f"weights must be on every edge, got none on {(u, v)}")
        checks.number(f"weight of the edge {(u, v)}", weight, at_least=0, finite=True)
    matrix = nx.to_numpy_array(graph, nodelist=order, weight="weight")
    sums = matrix.sum(1)
    if sums.max() > 1 + 1e-9:
        worst = order[int(sums.argmax())]
        raise ValueError(
            f"weights of edges must sum to at most 1 at each node, got {sums.max():g} at {worst!r}"
        )
    np.fill_diagonal(matrix, np.maximum(1 - sums, 0))
    return matrix


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
