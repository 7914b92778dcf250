"""Families of graphs.

All of them raise ValueError for a size that is out of range.
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from jcollab import checks
from jcollab.topology.graph import Topology, as_topology, from_networkx


def chain(n: int) -> Topology:
    """Builds a line of clients: edges i -- i+1.

    Example:
        >>> jc.topology.chain(3).neighbors.tolist()  # padded with the client itself
        [[1, 0], [0, 2], [1, 2]]
    """
    checks.count("n", n)
    return from_networkx(nx.path_graph(n), "chain")


def ring(n: int) -> Topology:
    """Builds a circle of clients: edges i -- i+1 (mod n); a chain for n < 3.

    Example:
        >>> jc.topology.ring(4).neighbors.tolist()
        [[1, 3], [0, 2], [1, 3], [0, 2]]
    """
    checks.count("n", n)
    return from_networkx(nx.cycle_graph(n) if n > 2 else nx.path_graph(n), "ring")


def torus(rows: int, columns: int) -> Topology:
    """Builds a ``rows`` x ``columns`` grid, closed in both directions and numbered row by row.

    Example:
        >>> jc.topology.torus(3, 4).neighbors[0].tolist()
        [1, 3, 4, 8]
    """
    checks.counts(rows=rows, columns=columns)
    # A closed direction of length 2 would join the same pair twice.
    graph = nx.grid_2d_graph(rows, columns, periodic=(rows > 2, columns > 2))
    return from_networkx(nx.convert_node_labels_to_integers(graph), "torus")


def star(n: int) -> Topology:
    """Builds a star: client 0 is joined to all others.

    Example:
        >>> jc.topology.star(4).degrees.tolist()
        [3, 1, 1, 1]
    """
    checks.count("n", n)
    return from_networkx(nx.star_graph(n - 1), "star")


def complete(n: int) -> Topology:
    """Builds the complete graph, in which every two clients are joined.

    Example:
        >>> jc.topology.complete(3).neighbors.tolist()
        [[1, 2], [0, 2], [0, 1]]
    """
    checks.count("n", n)
    return from_networkx(nx.complete_graph(n), "complete")


def binary_tree(n: int, *, reverse: bool = False) -> Topology:
    """Builds a binary tree with edges 0 -- 1 and i -- floor(i/2) for i >= 2 (degree at most 3).

    Args:
        n: number of clients.
        reverse: relabels i as n-1-i. Only clients in the middle are inner nodes of both a tree and
            its reverse, so together the two use the links of all clients evenly.

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
    """Builds a hypercube: clients are joined if their indices differ in one bit.

    Args:
        n: number of clients, a power of two.

    Example:
        >>> jc.topology.hypercube(8).neighbors[0].tolist()
        [1, 2, 4]
    """
    checks.count("n", n)
    if n & (n - 1):
        raise ValueError(f"n must be a power of two, got {n}")
    graph = nx.hypercube_graph(int(n).bit_length() - 1) if n > 1 else nx.empty_graph(1)
    # Nodes are tuples of bits in ascending order, so their labels are the numbers they encode.
    return from_networkx(nx.convert_node_labels_to_integers(graph), "hypercube")


def exponential(n: int) -> Topology:
    """Builds the static exponential graph: i is joined to i +- 2^k (mod n) for all 2^k < n.

    Example:
        >>> jc.topology.exponential(8).neighbors[0].tolist()
        [1, 2, 4, 6, 7]
    """
    checks.count("n", n)
    # 2^k < n holds exactly for k below the number of bits of n - 1.
    graph = nx.circulant_graph(n, [1 << k for k in range(int(n - 1).bit_length())])
    return from_networkx(graph, "exponential")


def social_network() -> Topology:
    """Builds the Davis Southern Women graph, whose nodes are 18 women, then 14 events.

    Example:
        >>> network = jc.topology.social_network()
        >>> network.n, network.graph.number_of_edges()
        (32, 89)
    """
    graph = nx.convert_node_labels_to_integers(nx.davis_southern_women_graph())
    return from_networkx(graph, "social network")


def spanning_tree(topology: Topology | nx.Graph, root: int = 0) -> Topology:
    """Builds the breadth-first spanning tree, which contains shortest paths to the root.

    Among the shortest paths of a client, the tree contains the lexicographically smallest.

    Args:
        topology: any topology.
        root: client at the root, in 0..n-1.

    Raises:
        ValueError: if root is not a client.

    Example:
        >>> sorted(jc.topology.spanning_tree(jc.topology.ring(4)).graph.edges)
        [(0, 1), (0, 3), (1, 2)]
    """
    topology = as_topology(topology)
    checks.count("root", root, 0, topology.n - 1)
    tree = nx.empty_graph(topology.n)
    # Visiting neighbors in ascending order makes each path lexicographically smallest.
    tree.add_edges_from(nx.bfs_edges(topology.graph, root, sort_neighbors=sorted))
    return Topology(tree, f"{topology.name} tree", names=topology.names)


def cubic_tree(n: int) -> Topology:
    """Builds a tree in breadth-first order with three children of client 0 and two of the others.

    Example:
        >>> sorted(jc.topology.cubic_tree(6).graph.edges)
        [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]

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
    """Builds a small-world graph: a ring lattice with some edges rewired at random.

    Args:
        n: number of clients.
        degree: number of neighbors of each client in the lattice, even, 2 <= degree < n.
        rewire: probability that an edge is rewired, in [0, 1].
        seed: seed of the rewiring, which is repeated until the graph is connected.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> jc.topology.small_world(8, degree=4).graph.number_of_edges()  # rewiring keeps 8 * 4 / 2
        16

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
    """Builds a random graph in which every client has ``degree`` neighbors.

    Args:
        n: number of clients; n * degree must be even.
        degree: number of neighbors, 2 <= degree < n.
        seed: seed of the draw, which is repeated until the graph is connected.

    Raises:
        ValueError: if no such graph exists.

    Example:
        >>> jc.topology.random_regular(6, 3).degrees.tolist()
        [3, 3, 3, 3, 3, 3]
    """
    checks.count("n", n, 3)
    checks.count("degree", degree, 2, n - 1)
    if n * degree % 2:
        raise ValueError(f"degree must be even for n={n}, got {degree}")
    checks.seed("seed", seed)
    rng = np.random.RandomState(seed)
    while True:  # for degree >= 3, a random regular graph is connected with probability near 1
        graph = nx.random_regular_graph(degree, n, seed=rng)
        if nx.is_connected(graph):
            return from_networkx(graph, "random regular")
