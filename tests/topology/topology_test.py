import json

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest

from jcollab import topology as tp
from tests import REFERENCE

STORED = json.loads((REFERENCE / "relaysgd/topologies.json").read_text())
MAKERS = {
    "chain": tp.chain,
    "ring": tp.ring,
    "star": tp.star,
    "binary_tree": tp.binary_tree,
    "binary_tree_reversed": lambda n: tp.binary_tree(n, reverse=True),
    "3-tree": tp.cubic_tree,
    "davis_social": lambda: tp.social_network(),
    "davis_tree_root": lambda root: tp.spanning_tree(tp.social_network(), root),
}


def make(name):
    stem = name.rstrip("0123456789")
    arguments = [int(name[len(stem) :])] if stem != name else []
    return MAKERS[stem.rstrip("_")](*arguments)


@pytest.mark.parametrize("name", list(STORED))
def test_edges_and_spectrum_of_the_original(name):
    topology, stored = make(name), STORED[name]
    assert sorted(map(sorted, topology.graph.edges)) == sorted(map(sorted, stored["edges"]))
    assert topology.diameter == stored["diameter"]
    if "mh_spectral_gap" in stored:
        assert tp.spectral_gap(topology) == pytest.approx(stored["mh_spectral_gap"], abs=1e-12)
        assert tp.mixing_eigenvalues(topology)[0] == pytest.approx(stored["mh_min_eig"], abs=1e-12)


ALL = [
    tp.chain(7), tp.ring(7), tp.torus(3, 4), tp.star(7), tp.complete(7), tp.binary_tree(7),
    tp.cubic_tree(9), tp.hypercube(8), tp.exponential(7), tp.social_network(), tp.chain(1),
    tp.ring(2), tp.from_networkx(nx.petersen_graph(), "petersen"),
]  # fmt: skip


@pytest.mark.parametrize("topology", ALL, ids=lambda t: f"{t.name}-{t.n}")
def test_tables_agree_with_the_graph(topology):
    n = topology.n
    for i in range(n):
        row = topology.neighbors[i]
        assert row[topology.mask[i]].tolist() == sorted(topology.graph.adj[i])
        assert (row[~topology.mask[i]] == i).all()
        for k in np.flatnonzero(topology.mask[i]):
            assert topology.neighbors[row[k], topology.reverse[i, k]] == i
    matrix = tp.mixing_matrix(topology)
    np.testing.assert_allclose(tp.check_mixing_matrix(matrix), matrix)
    assert topology.is_tree == nx.is_tree(topology.graph)
    lengths = dict(nx.all_pairs_shortest_path_length(topology.graph))
    assert all(topology.distances[i, j] == lengths[i][j] for i in range(n) for j in range(n))


def test_shapes_of_the_families():
    assert set(tp.torus(4, 4).degrees) == {4} and tp.spectral_gap(tp.torus(4, 4)) == pytest.approx(
        0.4
    )
    assert set(tp.hypercube(16).degrees) == {4}
    assert sorted(tp.exponential(8).graph.adj[0]) == [1, 2, 4, 6, 7]
    assert tp.spectral_gap(tp.complete(5)) == pytest.approx(1)
    assert tp.social_network().graph.number_of_edges() == 89
    tree = tp.spanning_tree(tp.torus(4, 4), 5)
    assert tree.is_tree and set(tree.graph.edges) <= set(tp.torus(4, 4).graph.edges)


def test_spectral_gap_of_a_large_graph_needs_no_dense_matrix():
    n = 2000 + 6
    gap = tp.spectral_gap(tp.hypercube(4096))
    assert gap == pytest.approx(1 - (12 + 1 - 2) / 13, abs=1e-9)  # eigenvalues (13 - 2k) / 13
    assert 0 < tp.spectral_gap(tp.exponential(n)) < 1


def test_bad_graphs_are_named():
    with pytest.raises(ValueError, match="graph must be connected, got 2 components"):
        tp.from_networkx(nx.Graph([(0, 1), (2, 3)]))
    with pytest.raises(ValueError, match="undirected"):
        tp.from_networkx(nx.DiGraph([(0, 1)]))
    with pytest.raises(ValueError, match=r"self loops, got them at \[0\]"):
        tp.from_networkx(nx.Graph([(0, 1), (0, 0)]))
    with pytest.raises(ValueError, match="at least one node"):
        tp.from_networkx(nx.Graph())
    with pytest.raises(TypeError, match="graph must be a networkx graph, got list"):
        tp.from_networkx([(0, 1)])
    with pytest.raises(ValueError, match="power of two.*got 6"):
        tp.hypercube(6)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        tp.chain(0)
    with pytest.raises(ValueError, match=r"root must be in 0..31, got 32"):
        tp.spanning_tree(tp.social_network(), 32)


@pytest.mark.parametrize("topology", ALL[:9], ids=lambda t: t.name)
def test_draw(topology):
    axes = tp.draw(topology, plt.figure().gca(), values=np.arange(topology.n))
    assert len(axes.collections) == 2  # nodes and edges
    plt.close("all")
