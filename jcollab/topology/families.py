"""Families of graphs; a size that is out of range is a ValueError."""

from __future__ import annotations

import networkx as nx
import numpy as np

from jcollab import checks
from jcollab.topology.graph import Topology, as_topology, from_networkx


def chain(n: int) -> Topology:
    """Clients in a line: edges i -- i+1.

    Example:
        >>> jc.topology.chain(3).neighbors.tolist()  # padded with the client itself
        [[1, 0], [0, 2], [1, 2]]
    """
    checks.count("n", n)
    return from_networkx(nx.path_graph(n), "chain")


def ring(n: int) -> Topology:
    """Clients in a circle: edges i -- i+1 (mod n); a chain for n < 3."""
    checks.count("n", n)
    return from_networkx(nx.cycle_graph(n) if n > 2 else nx.path_graph(n), "ring")


def torus(rows: int, columns: int) -> Topology:
    """A ``rows`` x ``columns`` grid that is closed in both directions, numbered row by row."""
    checks.counts(rows=rows, columns=columns)
    graph = nx.grid_2d_graph(rows, columns, periodic=(rows > 2, columns > 2))
    return from_networkx(nx.convert_node_labels_to_integers(graph), "torus")


def star(n: int) -> Topology:
    """Client 0 in the middle, joined to all others."""
    checks.count("n", n)
    return from_networkx(nx.star_graph(n - 1), "star")


def complete(n: int) -> Topology:
    """Every two clients are joined."""
    checks.count("n", n)
    return from_networkx(nx.complete_graph(n), "complete")


def binary_tree(n: int, *, reverse: bool = False) -> Topology:
    """Binary tree with edges 0 -- 1 and i -- floor(i/2) for i >= 2 (degree at most 3).

    Args:
        n: number of clients.
        reverse: relabels i as n-1-i. A tree and its reverse share only the middle inner clients, so
            together they use the links of all clients evenly.

    Example:
        >>> sorted(jc.topology.binary_tree(5).graph.edges)
        [(0, 1), (1, 2), (1, 3), (2, 4)]

    Source: Vogels et al. 2021, arXiv 2110.04175.
    """
    checks.count("n", n)
    graph = nx.empty_graph(n)
    graph.add_edges_from((max(i // 2, 1) if i > 1 else 0, i) for i in range(1, n))
    if reverse:
        twin = nx.empty_graph(n)
        twin.add_edges_from((n - 1 - u, n - 1 - v) for u, v in graph.edges)
        graph = twin
    return from_networkx(graph, "binary tree" + (" (reversed)" if reverse else ""))


def hypercube(n: int) -> Topology:
    """Clients whose numbers differ in one binary digit are joined; n must be a power of two."""
    checks.count("n", n)
    if n & (n - 1):
        raise ValueError(f"n must be a power of two, got {n}")
    graph = nx.hypercube_graph(int(n).bit_length() - 1) if n > 1 else nx.empty_graph(1)
    return from_networkx(nx.convert_node_labels_to_integers(graph), "hypercube")


def exponential(n: int) -> Topology:
    """Static, undirected exponential graph: i is joined to i +- 2^k (mod n) for all 2^k < n."""
    checks.count("n", n)
    graph = nx.circulant_graph(n, [1 << k for k in range(int(n - 1).bit_length())])
    return from_networkx(graph, "exponential")


def social_network() -> Topology:
    """The Davis Southern Women graph: 32 clients, 89 edges (18 women, then 14 events)."""
    graph = nx.convert_node_labels_to_integers(nx.davis_southern_women_graph())
    return from_networkx(graph, "social network")


def spanning_tree(topology: Topology | nx.Graph, root: int = 0) -> Topology:
    """Breadth-first spanning tree: every client keeps its first shortest path to the root.

    Args:
        topology: any topology.
        root: client at the root, in 0..n-1.

    Raises:
        ValueError: if root is no client.

    Example:
        >>> sorted(jc.topology.spanning_tree(jc.topology.ring(4)).graph.edges)
        [(0, 1), (0, 3), (1, 2)]
    """
    topology = as_topology(topology)
    checks.count("root", root, 0, topology.n - 1)
    tree = nx.empty_graph(topology.n)
    # ascending neighbors at every node make the path lexicographically smallest
    tree.add_edges_from(nx.bfs_edges(topology.graph, root, sort_neighbors=sorted))
    return Topology(tree, f"{topology.name} tree", names=topology.names)


def cubic_tree(n: int) -> Topology:
    """Tree filled breadth-first in which client 0 has three children and all others have two.

    Source: Vogels et al. 2021, arXiv 2110.04175 (their "3-tree").
    """
    checks.count("n", n)
    graph, parent, free = nx.empty_graph(n), 0, 3
    for child in range(1, n):
        graph.add_edge(parent, child)
        free -= 1
        if free == 0:
            parent, free = parent + 1, 2
    return from_networkx(graph, "cubic tree")


def small_world(n: int, degree: int = 4, rewire: float = 0.1, *, seed: int = 0) -> Topology:
    """A ring lattice with some edges rewired at random.

    Args:
        n: number of clients.
        degree: neighbors of each client in the lattice, even, 2 <= degree < n.
        rewire: probability that an edge is rewired, in [0, 1].
        seed: of the rewiring, which is repeated until the graph is connected.

    Raises:
        ValueError: if a number is out of range.

    Source: Watts and Strogatz 1998.
    """
    checks.count("n", n, 3)
    checks.count("degree", degree, 2, n - 1)
    if degree % 2:
        raise ValueError(f"degree must be even, got {degree}")
    checks.number("rewire", rewire, at_least=0, at_most=1)
    checks.seed("seed", seed)
    graph = nx.connected_watts_strogatz_graph(n, degree, rewire, tries=1000, seed=seed)
    return from_networkx(graph, "small world")


def random_regular(n: int, degree: int, *, seed: int = 0) -> Topology:
    """A random graph in which every client has ``degree`` neighbors.

    Args:
        n: number of clients; n * degree must be even.
        degree: 2 <= degree < n.
        seed: of the draw, which is repeated until the graph is connected.

    Raises:
        ValueError: if there is no such graph.
    """
    checks.count("n", n, 3)
    checks.count("degree", degree, 2, n - 1)
    if n * degree % 2:
        raise ValueError(f"degree must be even for n={n}, got {degree}")
    checks.seed("seed", seed)
    rng = np.random.RandomState(seed)
    while True:  # a random regular graph is connected with probability near 1
        graph = nx.random_regular_graph(degree, n, seed=rng)
        if nx.is_connected(graph):
            return from_networkx(graph, "random regular")
