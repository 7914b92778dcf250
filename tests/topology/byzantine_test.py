"""Graphs with byzantine clients against those of the original ClippedGossip."""

import json

import networkx as nx
import numpy as np
import pytest

from jcollab import topology as tp
from tests import REFERENCE

FOLDER = REFERENCE / "clipped_gossip"
GRAPHS = json.loads((FOLDER / "graphs.json").read_text())


def build_graph(name):
    kind = name.rstrip("0123456789,.x")
    numbers = [float(v) for v in name[len(kind) :].replace("x", ",").split(",")]
    if kind == "dumbbell":
        return tp.dumbbell(*map(int, numbers))
    if kind == "tcb":
        return tp.two_cliques(int(numbers[0]), int(numbers[1]), numbers[2])
    return tp.malicious_ring(
        int(numbers[0]), lazy=bool(numbers[1]), honest_majority=bool(numbers[2])
    )


@pytest.mark.parametrize("name", [n for n in GRAPHS if n.startswith(("dumbbell", "tcb", "mr"))])
def test_graphs_of_the_original(name):
    made, stored = build_graph(name), GRAPHS[name]
    matrix = tp.mixing_matrix(made.topology)
    np.testing.assert_allclose(matrix, stored["W"], atol=1e-14)
    honest = tp.honest_matrix(made.topology, made.byzantine)
    np.testing.assert_allclose(honest.sum(1), 1, atol=1e-14)
    delta = tp.byzantine_weight(made.topology, made.byzantine)
    if "delta_per_honest_node" in stored:
        np.testing.assert_allclose(delta[: made.honest.sum()], stored["delta_per_honest_node"])
    if name.startswith("dumbbell"):
        gap = tp.spectral_gap(honest)
        assert gap == pytest.approx(stored["spectral_gap"], abs=1e-12)
        assert np.bincount(made.group[made.honest]).tolist() == [int(made.honest.sum()) // 2] * 2
    if name.startswith("tcb"):
        assert tp.spectral_gap(honest) == pytest.approx(0.02859547920896832, abs=1e-12)
        weight = float(name.split(",")[2])
        assert tp.delta_max(made.topology, made.byzantine) == pytest.approx(weight / 4)


def test_byzantine_clients_are_placed_where_the_honest_stay_connected():
    for seed in range(5):
        made = tp.choose_byzantine(tp.torus(4, 4), 6, seed=seed)
        assert made.byzantine.sum() == 6
        assert nx.is_connected(made.topology.graph.subgraph(np.flatnonzero(made.honest)))
    leaves = tp.attach_byzantine(tp.ring(5), [0, 0, 3])
    assert leaves.topology.n == 8 and leaves.byzantine.tolist() == [False] * 5 + [True] * 3
    assert sorted(leaves.topology.graph.adj[0]) == [1, 4, 5, 6]
    assert tp.delta_max(leaves.topology, leaves.byzantine) == pytest.approx(2 / 5)
    assert tp.delta_max(tp.ring(5), []) == 0
    with pytest.raises(ValueError, match=r"hosts must be in 0..4, got 5"):
        tp.attach_byzantine(tp.ring(5), [5])
    with pytest.raises(ValueError, match=r"count must be in 0..4, got 5"):
        tp.choose_byzantine(tp.ring(5), 5)
    with pytest.raises(ValueError, match="byzantine must be a mask, bool .n=5."):
        tp.delta_max(tp.ring(5), np.zeros(4, bool))
    for bad in (lambda: tp.dumbbell(0), lambda: tp.two_cliques(2, 1), lambda: tp.malicious_ring(2)):
        with pytest.raises(ValueError, match="must be at least"):
            bad()


def test_random_graphs():
    regular = tp.random_regular(12, 3, seed=1)
    assert set(regular.degrees) == {3}
    world = tp.small_world(12, 4, 0.3, seed=1)
    assert world.degrees.sum() == 48 and nx.is_connected(world.graph)
    assert sorted(world.graph.edges) == sorted(tp.small_world(12, 4, 0.3, seed=1).graph.edges)
    with pytest.raises(ValueError, match="degree must be even for n=5, got 3"):
        tp.random_regular(5, 3)
    with pytest.raises(ValueError, match="degree must be even"):
        tp.small_world(10, 3)
    with pytest.raises(ValueError, match=r"rewire must be in \[0, 1\]"):
        tp.small_world(10, 4, 2.0)


def test_weights_of_a_topology_are_used_everywhere():
    ring = tp.ring(4)
    lazy = tp.with_weights(ring, (tp.mixing_matrix(ring) + np.eye(4)) / 2)
    np.testing.assert_allclose(lazy.weights, ring.weights / 2)
    np.testing.assert_allclose(tp.mixing_matrix(lazy), lazy.matrix)
    assert tp.spectral_gap(lazy) == pytest.approx(1 - 2 / 3)
    with pytest.raises(ValueError, match=r"W\[0, 2\] must be 0.*0 and 2 are not joined, got 0.25"):
        tp.with_weights(ring, np.full((4, 4), 0.25))
    with pytest.raises(ValueError, match=r"W must be \[n=4, n\].*got \(3, 3\)"):
        tp.with_weights(ring, np.eye(3))
