import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import jcollab as jc
from tests.mixing.drive import KEY, drive


@pytest.mark.parametrize("rounds, n", [(1, 6), (2, 6), (3, 8)])
def test_one_peer_exponential(x64, rounds, n):
    values = list(np.random.default_rng(0).normal(size=(5, n, 3)))
    outputs, _ = drive(jc.mixing.one_peer_exponential(n, rounds=rounds), values)
    for t, (x, out) in enumerate(zip(values, outputs, strict=True)):
        for j in range(rounds):
            x = (x + np.roll(x, 2 ** ((t * rounds + j) % 3), 0)) / 2
        np.testing.assert_allclose(out, x, atol=1e-10)
        if n == 8:  # log2(n) exchanges of a power of two are an exact average
            np.testing.assert_allclose(out, np.broadcast_to(values[t].mean(0), out.shape))
    lost = jc.mixing.one_peer_exponential(n, channel=jc.channels.drop(1.0))
    np.testing.assert_array_equal(drive(lost, values)[0], values)


def test_push_sum_finds_the_mean_over_a_directed_graph(x64):
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 5), (5, 0), (2, 4)])
    x = np.random.default_rng(0).normal(size=(6, 2))
    share = np.zeros((6, 6))
    for j in graph:
        for i in [j, *graph.successors(j)]:
            share[i, j] = 1 / (1 + graph.out_degree(j))
    mixer, y, w = jc.mixing.push_sum(graph), x.copy(), np.ones(6)
    state, z = mixer.init(jnp.asarray(x)), jnp.asarray(x)
    moves = np.random.default_rng(1).normal(size=(60, 6, 2)) * (np.arange(60) < 5)[:, None, None]
    for t in range(60):
        z, state = mixer.update(z + moves[t], state, jc.core.Round(KEY, t))
        y, w = share @ (y + moves[t]), share @ w
        np.testing.assert_allclose(z, y / w[:, None], atol=1e-10)
    total = (x + moves.sum(0)).mean(0)
    np.testing.assert_allclose(z, np.broadcast_to(total, z.shape), atol=1e-6)
    # two coordinates and a weight, to each successor
    assert jc.metrics.bytes_sent(mixer, jnp.asarray(x)).tolist() == [48, 24, 48, 24, 24, 24]
    with pytest.raises(ValueError, match="strongly connected"):
        jc.mixing.push_sum(nx.DiGraph([(0, 1)]))
    with pytest.raises(TypeError, match="graph must be a networkx DiGraph, got Graph"):
        jc.mixing.push_sum(nx.Graph([(0, 1)]))


def test_push_sum_loses_value_and_weight_together(x64):
    """Whatever is lost, a common value stays the common value."""
    graph = nx.gnp_random_graph(8, 0.5, seed=1, directed=True)
    mixer, x = jc.mixing.push_sum(graph, jc.channels.drop(0.5)), jnp.full((8, 2), 3.0)
    state = mixer.init(x)
    for t in range(5):
        x, state = mixer.update(x, state, jc.core.Round(jax.random.fold_in(KEY, t), t))
    np.testing.assert_allclose(x, 3.0)
    assert state.weight.max() < 1
