"""Graphs with byzantine clients, and the influence of these on the honest clients."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from jcollab import checks
from jcollab.core import Names
from jcollab.topology.graph import Topology, as_topology, from_networkx
from jcollab.topology.weights import (
    check_mixing_matrix,
    constant_weights,
    mixing_matrix,
    with_diagonal,
    with_weights,
)


class ByzantineTopology(NamedTuple):
    """A topology and its byzantine clients.

    Attributes:
        topology: topology of all clients, with their mixing weights.
        byzantine: bool ``[n]``.
        group: index of the clique of each client, int ``[n]``; -1 for no clique.
    """

    topology: Topology
    byzantine: np.ndarray
    group: np.ndarray

    @property
    def honest(self) -> np.ndarray:
        """The clients that are not byzantine, bool ``[n]``."""
        return ~self.byzantine


def byzantine_mask(byzantine: Any, n: int) -> np.ndarray:
    """Returns the byzantine clients as a mask, bool ``[n]``.

    Args:
        byzantine: bool ``[n]`` or a list of clients.
        n: number of clients.

    Raises:
        TypeError: if ``byzantine`` is neither a mask nor a list of clients.
        ValueError: if the length of a mask is not n, a client is not in 0..n-1 or occurs twice, or
            no client is honest.

    Example:
        >>> jc.topology.byzantine_mask([2], 3).tolist()
        [False, False, True]
    """
    mask = np.isin(np.arange(n), checks.members(byzantine, n, "byzantine", numbers=True))
    if mask.all():
        raise ValueError(f"byzantine must be fewer than the n={n} clients, got all of them")
    return mask


def dumbbell(
    clique: int, byzantine: int = 0, random_edges: int = 0, *, seed: int = 0
) -> ByzantineTopology:
    """Builds two cliques joined by a bridge, with byzantine leaves at both ends of the bridge.

    Clients 0..q-1 and q..2q-1 form the cliques, and 0 -- 2q-1 is the bridge. The b leaves of client
    0 and the b leaves of client 2q-1 follow. Every edge has the weight ``1 / (q + b + 1 + r)``.

    Args:
        clique: q >= 1, size of a clique.
        byzantine: b >= 0, number of leaves at each end.
        random_edges: r >= 0 additional edges between the cliques, drawn with replacement (an edge
            that is drawn twice, or is the bridge, counts once).
        seed: seed of the draw.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> graph = jc.topology.dumbbell(2, byzantine=1)
        >>> sorted(graph.topology.graph.edges)
        [(0, 1), (0, 3), (0, 4), (2, 3), (3, 5)]
        >>> graph.group.tolist()
        [0, 0, 1, 1, -1, -1]

    Source: He et al. 2022, arXiv 2202.01545.
    """
    checks.count("clique", clique)
    checks.count("byzantine", byzantine, 0)
    checks.count("random_edges", random_edges, 0)
    checks.seed("seed", seed)
    q, b, r = clique, byzantine, random_edges
    graph = nx.disjoint_union(nx.complete_graph(q), nx.complete_graph(q))
    graph.add_edge(0, 2 * q - 1)
    graph.add_nodes_from(range(2 * q, 2 * (q + b)))
    for host, first in ((0, 2 * q), (2 * q - 1, 2 * q + b)):
        graph.add_edges_from((host, first + i) for i in range(b))
    # The stream of RandomState is frozen, so a seed gives the same graph in every version of NumPy.
    rng = np.random.RandomState(seed)
    graph.add_edges_from(zip(rng.randint(0, q, size=r), rng.randint(q, 2 * q, size=r), strict=True))
    topology = from_networkx(graph, "dumbbell")
    weighted = with_weights(topology, constant_weights(topology, 1 / (q + b + 1 + r)))
    return _byzantine_topology(weighted, 2 * q, q)


def two_cliques(clique: int, byzantine: int = 1, weight: Any = 1.0) -> ByzantineTopology:
    """Builds two cliques that are joined through one client with byzantine leaves.

    Clients 0..m-1 and m..2m-1 form the cliques, the center 2m is joined to 0 and to 2m-1, and the b
    leaves of the center follow. Weights are Metropolis-Hastings, except that each leaf has the
    weight ``delta / (b + 3)`` at the center. Each of the two other neighbors has ``1 / (m + 1)``
    there, and the center itself the rest. Therefore delta changes the weight of byzantine clients,
    ``delta b / (b + 3)``, but not the weights between honest clients.

    Args:
        clique: m, size of a clique; m >= b + 2.
        byzantine: b >= 0, number of leaves.
        weight: delta in [0, 1], which scales the edges to byzantine leaves; may be traced.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> graph = jc.topology.two_cliques(3, byzantine=1, weight=0.5)
        >>> jc.topology.byzantine_weight(graph.topology, graph.byzantine).tolist()  # 0.5 / (1 + 3)
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.125, 0.0]

    Source: He et al. 2022, arXiv 2202.01545.
    """
    checks.count("byzantine", byzantine, 0)
    checks.count("clique", clique, byzantine + 2)
    checks.number("weight", weight, at_least=0, at_most=1)
    m, b = clique, byzantine
    center = 2 * m
    graph = nx.disjoint_union(nx.complete_graph(m), nx.complete_graph(m))
    graph.add_edges_from([(0, center), (2 * m - 1, center)])
    graph.add_edges_from((center, center + 1 + i) for i in range(b))
    topology = from_networkx(graph, "two cliques")
    matrix, attached = mixing_matrix(topology), np.zeros((topology.n, topology.n))
    attached[center, center + 1 :] = attached[center + 1 :, center] = 1
    # Only edges to leaves depend on delta, which may be traced; the diagonal takes what remains.
    off = matrix * (1 - np.eye(topology.n)) * (1 - attached)
    matrix = with_diagonal(off + weight / (b + 3) * attached)
    return _byzantine_topology(with_weights(topology, matrix), center + 1, m)


def malicious_ring(
    honest: int, *, honest_majority: bool = True, lazy: bool = True
) -> ByzantineTopology:
    """Builds a ring of honest clients, each with two byzantine leaves.

    Clients 0..g-1 form the ring; g + i and 2g + i are the leaves of client i.

    Args:
        honest: g >= 3, length of the ring.
        honest_majority: False adds a third leaf to client 0, with index 3g.
        lazy: uses the weights ``(W + (1 - s) I) / (2 - s)`` instead of the Metropolis-Hastings
            matrix W, where s is the smallest own weight of an honest client.

    Raises:
        ValueError: if honest < 3.

    Example:
        >>> graph = jc.topology.malicious_ring(3)
        >>> graph.topology.neighbors[0].tolist(), int(graph.byzantine.sum())
        ([1, 2, 3, 6], 6)

    Source: He et al. 2022, arXiv 2202.01545.
    """
    checks.count("honest", honest, 3)
    graph = nx.cycle_graph(honest)
    graph.add_edges_from((i, k * honest + i) for k in (1, 2) for i in range(honest))
    if not honest_majority:
        graph.add_edge(0, 3 * honest)
    topology = from_networkx(graph, "malicious ring")
    if lazy:
        # Own weights of honest clients become at least (s + 1 - s) / (2 - s) >= 1/2.
        matrix = mixing_matrix(topology)
        extra = 1 - np.diag(matrix)[:honest].min()
        matrix = (matrix + extra * np.eye(topology.n)) / (1 + extra)
        topology = with_weights(topology, matrix)
    return _byzantine_topology(topology, honest, honest)


def attach_byzantine(topology: Topology | nx.Graph, hosts: Any) -> ByzantineTopology:
    """Adds byzantine leaves to honest clients; the leaves are numbered last.

    Weights are Metropolis-Hastings on the graph with its leaves. If clients have names, leaves are
    named ``"byzantine 0"`` and so on, or by the integers after the largest name.

    Args:
        topology: topology of the honest clients.
        hosts: ``[b]``, the client that each leaf is joined to, by name if clients have names, else
            by index; a client may have several leaves.

    Raises:
        TypeError: if a host is given by index and is not an integer.
        ValueError: if a host is not a client.

    Example:
        >>> graph = jc.topology.attach_byzantine(jc.topology.chain(2), hosts=[0])
        >>> sorted(graph.topology.graph.edges), graph.byzantine.tolist()
        ([(0, 1), (0, 2)], [False, False, True])
    """
    topology = as_topology(topology)
    n, graph = topology.n, topology.graph.copy()
    numbers = topology.numbers(hosts, "hosts")
    graph.add_edges_from((int(host), n + i) for i, host in enumerate(numbers))
    names = topology.names
    if names is not None:
        of_texts = isinstance(names[0], str)
        free: Any = (
            (f"byzantine {i}" for i in itertools.count())
            if of_texts
            else itertools.count(max(names) + 1)
        )
        # A client may already have such a name, which must not occur twice.
        unused = (name for name in free if name not in names)
        names = Names([*names, *itertools.islice(unused, len(numbers))])
    return _byzantine_topology(Topology(graph, topology.name, names=names), n, n)


def choose_byzantine(
    topology: Topology | nx.Graph, count: int, *, seed: int = 0
) -> ByzantineTopology:
    """Selects random byzantine clients such that the honest clients remain connected.

    Clients are drawn one after the other, each from the clients that can be removed without
    disconnecting the honest graph.

    Args:
        topology: any topology.
        count: number of byzantine clients, in 0..n-1.
        seed: seed of the draw.

    Returns:
        The topology with ``byzantine``, a mask bool ``[n]``.

    Raises:
        ValueError: if count is out of range.

    Example:
        >>> graph = jc.topology.choose_byzantine(jc.topology.star(5), 3)
        >>> int(graph.byzantine.sum()), bool(graph.byzantine[0])  # the center is not removed
        (3, False)
    """
    topology = as_topology(topology)
    n = topology.n
    checks.count("count", count, 0, n - 1)
    checks.seed("seed", seed)
    rng, honest = np.random.default_rng(seed), topology.graph.copy()
    # Removing a node disconnects a connected graph exactly if the node is an articulation point. A
    # connected graph always has a node that is not, so every count below n is reached.
    for _ in range(count):
        cuts = set(nx.articulation_points(honest))
        honest.remove_node(rng.choice([i for i in honest if i not in cuts]))
    mask = ~np.isin(np.arange(n), list(honest))
    return ByzantineTopology(topology, mask, np.where(mask, -1, 0))


def byzantine_weight(topology: Topology | nx.Graph | Any, byzantine: Any) -> np.ndarray:
    """Computes the weight of byzantine clients at honest ones: ``delta_i = sum_{j in B} W_ij``.

    Args:
        topology: a topology or a mixing matrix W.
        byzantine: bool ``[n]`` or a list of clients.

    Returns:
        float64 ``[n]``, 0 for byzantine clients. Its maximum is ``delta_max``.

    Example:
        >>> jc.topology.byzantine_weight(jc.topology.chain(3), [2]).round(2)
        array([0.  , 0.33, 0.  ])
    """
    matrix = _matrix(topology)
    mask = byzantine_mask(byzantine, len(matrix))
    return np.where(mask, 0.0, matrix[:, mask].sum(1))


def delta_max(topology: Topology | nx.Graph | Any, byzantine: Any) -> float:
    """Computes the largest weight of byzantine clients at an honest client, ``max_i delta_i``.

    Args:
        topology: a topology or a mixing matrix W.
        byzantine: bool ``[n]`` or a list of clients.

    Example:
        >>> round(jc.topology.delta_max(jc.topology.chain(3), [2]), 2)
        0.33
    """
    return float(byzantine_weight(topology, byzantine).max())


def honest_matrix(topology: Topology | nx.Graph | Any, byzantine: Any) -> np.ndarray:
    """Computes the mixing matrix of the honest clients if no other client sends, ``[h, h]``.

    ``W~_ij = W_ij`` and ``W~_ii = W_ii + delta_i``, in float64; its ``spectral_gap`` is the paper's
    gamma. Rows follow the honest clients in ascending order.

    Args:
        topology: a topology or a mixing matrix W.
        byzantine: bool ``[n]`` or a list of clients.

    Example:
        >>> jc.topology.honest_matrix(jc.topology.chain(3), [2]).round(2)
        array([[0.67, 0.33],
               [0.33, 0.67]])

    Source: He et al. 2022, arXiv 2202.01545.
    """
    matrix = _matrix(topology)
    honest = ~byzantine_mask(byzantine, len(matrix))
    kept = matrix[np.ix_(honest, honest)]
    return kept + np.diag(byzantine_weight(matrix, ~honest)[honest])


def _matrix(topology: Any) -> np.ndarray:
    if isinstance(topology, (Topology, nx.Graph)):
        return mixing_matrix(topology)
    return check_mixing_matrix(topology)


def _byzantine_topology(topology: Topology, num_honest: int, group_size: int) -> ByzantineTopology:
    # Honest clients behind the last full group, such as the center of two cliques, have none.
    numbers = np.arange(topology.n)
    in_group = numbers < num_honest - num_honest % group_size
    return ByzantineTopology(
        topology, numbers >= num_honest, np.where(in_group, numbers // group_size, -1)
    )
