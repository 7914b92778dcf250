import networkx as nx
import numpy as np
import pytest

from jcollab import topology as tp

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
