import json

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
