"""A communication graph, stored as padded neighbor lists for use in compiled code."""

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
        name: name in plots and tables.
        matrix: mixing matrix W, float64 ``[n, n]``, see :func:`jcollab.topology.with_weights`;
            None for Metropolis-Hastings weights. May be traced.
        names: names of the clients, by index; None for clients without names. A run raises an error
            if its data have other names.

    Example:
        >>> topology = jc.topology.Topology(nx.path_graph(3), "my graph")
        >>> topology.n, topology.degrees.tolist(), topology.diameter
        (3, [1, 2, 1], 2)
    """

    # eq=False compares topologies by identity, because arrays do not compare to a single bool.

    graph: nx.Graph
    name: str = "graph"
    matrix: Any = None
    names: Names | None = None

    def __post_init__(self) -> None:
        """Checks the graph; :func:`from_networkx` converts graphs with other nodes."""
        _check_graph(self.graph)
        if not nx.is_connected(self.graph):
            parts = nx.number_connected_components(self.graph)
            raise ValueError(f"graph must be connected, got {parts} components")
        if set(self.graph) != set(range(self.n)):
            raise ValueError(
                f"graph must have the nodes 0..{self.n - 1}, got {list(self.graph)[:10]}; "
                "from_networkx numbers other nodes and keeps their names"
            )
        if self.names is not None and len(self.names) != self.n:
            raise ValueError(f"names must name all n={self.n} clients, got {len(self.names)}")

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
        # For j = neighbors[i, k], neighbors[j, reverse[i, k]] == i.
        slot = {(i, j): k for i in range(self.n) for k, j in enumerate(sorted(self.graph.adj[i]))}
        table = np.zeros((self.n, self._slots), np.int32)
        for (i, j), k in slot.items():
            table[i, k] = slot[j, i]
        return table

    @functools.cached_property
    def weights(self) -> Any:
        """Mixing weight of every slot, float64 ``[n, K]`` (0 where padded).

        Metropolis-Hastings weights are ``w_ij = 1 / (1 + max(deg_i, deg_j))``; if ``matrix`` is
        given, its entries are used. The weight of a client's own value is the rest.
        """
        # Padded slots read the diagonal of W, or their own degree; the mask sets them to 0.
        if self.matrix is not None:
            weights = self.matrix[np.arange(self.n)[:, None], self.neighbors]
        else:
            degrees = self.degrees
            weights = 1.0 / (1.0 + np.maximum(degrees[:, None], degrees[self.neighbors]))
        return weights * self.mask

    @property
    def is_tree(self) -> bool:
        """Whether the graph has no cycle."""
        # The graph is connected, so counting its edges suffices.
        return self.graph.number_of_edges() == self.n - 1

    @functools.cached_property
    def diameter(self) -> int:
        """Largest distance between two clients, in hops."""
        return nx.diameter(self.graph)

    @functools.cached_property
    def distances(self) -> np.ndarray:
        """Distances between all clients in hops, int ``[n, n]``."""
        import scipy.sparse.csgraph  # slow to import

        adjacency = nx.to_scipy_sparse_array(self.graph, nodelist=range(self.n), weight=None)
        return scipy.sparse.csgraph.shortest_path(adjacency, unweighted=True).astype(np.int64)

    def numbers(self, clients: Any, argument: str = "clients") -> np.ndarray:
        """Returns the indices of clients, int ``[b]``.

        Args:
            clients: one client or a list of clients, by name if the clients have names, else by
                index.
            argument: name of the argument in errors.

        Raises:
            TypeError: if clients are given by index and are not integers.
            ValueError: if one is not a client of the topology.

        Example:
            >>> names = jc.core.Names(["ann", "bob", "eve"])
            >>> jc.topology.Topology(nx.path_graph(3), names=names).numbers(["eve", "ann"]).tolist()
            [2, 0]
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
    """Builds a topology from a connected, undirected networkx graph.

    Nodes 0..n-1 are the clients with these indices, whatever order they were added in. Other nodes
    are numbered in the order of the graph and become the names of the clients.

    Args:
        graph: networkx graph, with integers, strings, or objects that ``str`` names as nodes.
        name: name in plots and tables.
        nodes: all nodes in the order of the clients, for example ``data.names``.
        weights: meaning of the edge attribute ``weight``: ``"edges"`` uses it as mixing weight
            ``W_ij``, with the rest to 1 as the weight of the client's own value; ``"metropolis"``
            ignores it and uses Metropolis-Hastings weights. None requires a graph without the
            attribute.

    Raises:
        TypeError: if ``graph`` is not a networkx graph.
        ValueError: if the graph is empty, directed or not connected, or has parallel edges or self
            loops; if ``nodes`` does not list the nodes of the graph; if edges have weights and
            ``weights`` is None; with ``"edges"``, if a weight is missing or negative, or the
            weights at a node sum to more than 1.

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
    # A copy without attributes: later changes of the caller's graph do not reach the topology.
    plain: nx.Graph = nx.Graph()
    plain.add_nodes_from(range(len(order)))
    number = {node: i for i, node in enumerate(order)}
    plain.add_edges_from((number[u], number[v]) for u, v in graph.edges)
    return Topology(plain, name, matrix, names)


def ordered_nodes(graph: nx.Graph, nodes: Sequence[Any] | None) -> tuple[list, Names | None]:
    """Returns the nodes in client order, and their names; None for nodes 0..n-1 in order."""
    natural = list(range(graph.number_of_nodes()))
    if nodes is None:
        order = natural if set(graph) == set(natural) else list(graph)
    else:
        order = list(nodes)
        if len(order) != len(natural) or set(order) != set(graph):
            raise ValueError(f"nodes must list the nodes of the graph, {list(graph)}, got {order}")
    if order == natural:
        return natural, None
    # Names must be all strings or all integers; nodes of other or mixed types become strings.
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
    """Returns the mixing matrix of the edge weights, ``[n, n]``; None for Metropolis-Hastings."""
    checks.one_of("weights", weights, ("edges", "metropolis", None))
    edges = list(graph.edges(data="weight"))
    given = [edge for edge in edges if edge[2] is not None]
    if weights is None and given:
        raise ValueError(
            f"graph must have no edge weights, got {given[0]}; from_networkx(graph, "
            "weights='edges') uses them as mixing weights W_ij, weights='metropolis' ignores them"
        )
    if weights != "edges":
        return None
    for u, v, weight in edges:
        if weight is None:
            raise ValueError(f"graph must have a weight on every edge, got none on {(u, v)}")
        checks.number(f"weight of the edge {(u, v)}", weight, at_least=0, finite=True)
    matrix = nx.to_numpy_array(graph, nodelist=order, weight="weight")
    sums = matrix.sum(1)
    if sums.max() > 1 + 1e-9:
        worst = order[int(sums.argmax())]
        raise ValueError(
            f"edge weights must sum to at most 1 at each node, got {sums.max():g} at {worst!r}"
        )
    # Sums may exceed 1 by rounding; the own weight must not become negative.
    np.fill_diagonal(matrix, np.maximum(1 - sums, 0))
    return matrix


def as_topology(topology: Any, argument: str = "topology") -> Topology:
    """Returns a topology as it is, and converts a networkx graph to one.

    Args:
        topology: a topology or a networkx graph, as for :func:`from_networkx`.
        argument: name of the argument in errors.

    Raises:
        TypeError: if ``topology`` is neither.

    Example:
        >>> jc.topology.as_topology(nx.path_graph(3)).neighbors.tolist()
        [[1, 0], [0, 2], [1, 2]]
    """
    if isinstance(topology, Topology):
        return topology
    if isinstance(topology, nx.Graph):
        return from_networkx(topology)
    raise TypeError(
        f"{argument} must be a Topology or a networkx graph, got {type(topology).__name__}"
    )


def require_tree(topology: Topology, argument: str = "topology") -> None:
    """Raises an error unless ``topology`` is a tree.

    Args:
        topology: any topology.
        argument: name of the argument in errors.

    Raises:
        ValueError: if the graph has a cycle, which the message lists.

    Example:
        >>> jc.topology.require_tree(jc.topology.ring(3))
        Traceback (most recent call last):
        ValueError: topology must be a tree, got ring with the cycle [0, 1, 2]; ...
    """
    if not topology.is_tree:
        cycle = [u for u, _ in nx.find_cycle(topology.graph)]
        raise ValueError(
            f"{argument} must be a tree, got {topology.name} with the cycle {cycle}; "
            "spanning_tree(topology) drops the edges that close cycles"
        )
