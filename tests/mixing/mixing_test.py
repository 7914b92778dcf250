import chex
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import jcollab as jc
from tests.reference import oracles

KEY = jax.random.key(0)
GRAPHS = {
    "chain": jc.topology.chain(6),
    "ring": jc.topology.ring(6),
    "star": jc.topology.star(6),
    "tree": jc.topology.binary_tree(6),
    "complete": jc.topology.complete(6),
}
TREES = ("chain", "star", "tree")


def drive(mixer, values, key=KEY):
    """Outputs of a mixer for a list of inputs, and its last state."""
    state = mixer.init(jnp.asarray(values[0]))
    update = jax.jit(lambda x, s, step: mixer.update(x, s, key=key, step=step))
    outputs = []
    for t, x in enumerate(values):
        out, state = update(jnp.asarray(x), state, jnp.int32(t))
        outputs.append(np.asarray(out))
    return outputs, state


@pytest.fixture
def values(x64):
    return list(np.random.default_rng(0).normal(size=(9, 6, 3)))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("form", ["dense", "sparse", "matrix", "matrix sparse", "neighborhood"])
def test_gossip_equals_a_loop_over_clients(values, name, form):
    topology = GRAPHS[name]
    matrix = jc.topology.mixing_matrix(topology)
    mixer = {
        "dense": jc.gossip(topology, sparse=False),
        "sparse": jc.gossip(topology, sparse=True),
        "matrix": jc.gossip(matrix, sparse=False),
        "matrix sparse": jc.gossip(matrix, sparse=True),
        "neighborhood": jc.neighborhood(topology, jc.aggregators.weighted()),
    }[form]
    expected = oracles.gossip(values, topology.graph.edges)
    np.testing.assert_allclose(drive(mixer, values)[0], expected, atol=1e-10)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("fill", ["initial", "previous", "own", "zero", "counts"])
@pytest.mark.parametrize("overlap", [False, True])
def test_relay_sum_equals_message_passing(values, name, fill, overlap):
    mixer = jc.relay_sum(GRAPHS[name], fill=fill, overlap=overlap)
    expected = oracles.relay_sum(
        values, GRAPHS[name].graph.edges, start=values[0], fill=fill, overlap=overlap
    )
    np.testing.assert_allclose(drive(mixer, values)[0], expected, atol=1e-10)


def test_all_reduce_and_identity(values):
    outputs, _ = drive(jc.all_reduce(), values)
    expected = [np.broadcast_to(x.mean(0), x.shape) for x in values]
    np.testing.assert_allclose(outputs, expected, atol=1e-10)
    np.testing.assert_array_equal(drive(jc.identity(), values)[0], values)


def draws(step_key, topology, p):
    """Which (receiver, sender) messages of one round arrive."""
    _, key = None, step_key
    keys = jc.layout.client_keys(key, topology.n)
    width = topology.neighbors.shape[1]
    u = np.stack([jax.random.uniform(k, (width,)) for k in keys])
    return {
        (i, int(topology.neighbors[i, k])): u[i, k] >= p
        for i in range(topology.n)
        for k in range(int(topology.degrees[i]))
    }


@pytest.mark.parametrize("fill", ["initial", "previous", "counts"])
def test_relay_sum_loses_values_and_counts_together(values, fill):
    topology = GRAPHS["tree"]
    mixer = jc.relay_sum(topology, fill=fill, channel=jc.channels.drop(0.3))
    kept = draws(KEY, topology, 0.3)  # `drive` uses one key in all rounds
    assert 0 < sum(kept.values()) < len(kept)
    expected = oracles.relay_sum(
        values,
        topology.graph.edges,
        start=values[0],
        fill=fill,
        arrives=lambda t, receiver, sender: kept[receiver, sender],
    )
    np.testing.assert_allclose(drive(mixer, values)[0], expected, atol=1e-10)


def test_weights_that_arrive_are_renormalised(values):
    topology, p = GRAPHS["ring"], 0.4
    mixer = jc.neighborhood(topology, jc.aggregators.weighted(), jc.channels.drop(p))
    kept = draws(KEY, topology, p)
    matrix = oracles.metropolis(topology.graph.edges, 6)
    for i in range(6):
        for j in range(6):
            if i != j and not kept.get((i, j), False):
                matrix[i, j] = 0
    matrix /= matrix.sum(1, keepdims=True)
    np.testing.assert_allclose(drive(mixer, values)[0], matrix @ np.stack(values), atol=1e-10)


def test_drop_nothing_and_drop_all(values):
    rule, ring = jc.aggregators.weighted(), GRAPHS["ring"]
    nothing, _ = drive(jc.neighborhood(ring, rule, jc.channels.drop(0.0)), values)
    np.testing.assert_allclose(nothing, oracles.gossip(values, ring.graph.edges), atol=1e-10)
    everything, _ = drive(jc.neighborhood(ring, rule, jc.channels.drop(1.0)), values)
    np.testing.assert_allclose(everything, values, atol=1e-10)
    both = jc.channels.chain(jc.channels.reliable(), jc.channels.drop(1.0))
    np.testing.assert_allclose(drive(jc.neighborhood(ring, rule, both), values)[0], values)


def test_every_mixes_after_each_period(values):
    outputs, _ = drive(jc.every(3, jc.all_reduce()), values)
    for t, (x, out) in enumerate(zip(values, outputs, strict=True)):
        expected = np.broadcast_to(x.mean(0), x.shape) if t % 3 == 2 else x
        np.testing.assert_allclose(out, expected, atol=1e-10)


def test_on_mixes_only_what_is_selected():
    x = {"body": {"w": jnp.arange(4.0)}, "head": jnp.arange(8.0).reshape(4, 2)}
    mixer = jc.on(lambda path, leaf: "head" not in path, jc.all_reduce())
    mixed, _ = mixer.update(x, mixer.init(x), key=KEY, step=0)
    np.testing.assert_allclose(mixed["body"]["w"], 1.5)
    np.testing.assert_array_equal(mixed["head"], x["head"])
    assert jc.metrics.bytes_sent(mixer, x).tolist() == [4.0] * 4
    with pytest.raises(ValueError, match="select must choose at least one of.*body/w"):
        jc.on(lambda path, leaf: False, jc.all_reduce()).init(x)


def test_stateless_mixer():
    double = jc.stateless(lambda x, **_: jax.tree.map(lambda leaf: 2 * leaf, x))
    x = {"w": jnp.ones((3, 2))}
    mixed, state = double.update(x, double.init(x), key=KEY, step=0)
    assert state == () and (mixed["w"] == 2).all()
    assert np.isnan(jc.metrics.bytes_sent(double, x)).all()


def test_bytes_sent():
    x = {"a": jnp.zeros((6, 10)), "b": jnp.zeros((6, 2), jnp.bfloat16)}
    size = 44.0
    for mixer in (jc.gossip(GRAPHS["star"]), jc.relay_sum(GRAPHS["star"])):
        assert jc.metrics.bytes_sent(mixer, x).tolist() == [5 * size] + [size] * 5
    assert jc.metrics.bytes_sent(jc.every(2, jc.all_reduce()), x).tolist() == [size / 2] * 6
    assert not jc.metrics.bytes_sent(jc.identity(), x).any()


def test_bfloat16_models_are_mixed_in_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(1, 0.1, (64, 5)), jnp.bfloat16)
    for mixer in (jc.gossip(jc.topology.ring(64)), jc.relay_sum(jc.topology.chain(64), fill="own")):
        state, y = mixer.init(x), x
        for step in range(3):
            y, state = mixer.update(y, state, key=KEY, step=step)
        assert y.dtype == jnp.bfloat16
        drift = np.abs(np.asarray(y, np.float32).mean(0) / np.asarray(x, np.float32).mean(0) - 1)
        assert drift.max() < 2e-2
    assert jc.relay_sum(GRAPHS["chain"]).init(x[:6]).inbox.dtype == jnp.float32


def test_wrong_inputs_are_named():
    x = jnp.zeros((5, 2))
    for mixer in (
        jc.gossip(GRAPHS["ring"]),
        jc.relay_sum(GRAPHS["chain"]),
        jc.neighborhood(GRAPHS["ring"], jc.aggregators.weighted()),
    ):
        with pytest.raises(ValueError, match="topology has n=6 clients.*n=5"):
            mixer.init(x)
    with pytest.raises(ValueError, match=r"topology must be a tree, but ring has the cycle"):
        jc.relay_sum(GRAPHS["ring"])
    with pytest.raises(ValueError, match="fill must be one of.*'initial'.*got 'x0'"):
        jc.relay_sum(GRAPHS["chain"], fill="x0")
    with pytest.raises(ValueError, match="2 components"):
        jc.gossip(nx.Graph([(0, 1), (2, 3)]))
    with pytest.raises(ValueError, match="W must be symmetric"):
        jc.gossip(np.roll(np.eye(3), 1, 0))
    jc.gossip(np.roll(np.eye(3), 1, 0), symmetric=False)
    with pytest.raises(ValueError, match="doubly stochastic, but column 0 sums to 1.5"):
        jc.gossip(np.array([[1.0, 0.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="W must be square"):
        jc.gossip(np.ones((2, 3)))
    with pytest.raises(ValueError, match="non-negative"):
        jc.gossip(np.array([[2.0, -1.0], [-1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 1.5"):
        jc.channels.drop(1.5)
    with pytest.raises(ValueError, match="period must be at least 1"):
        jc.every(0, jc.all_reduce())
    with pytest.raises(TypeError, match="rule must be a function"):
        jc.neighborhood(GRAPHS["ring"], 3)
    with pytest.raises(TypeError, match="topology must be a Topology or a networkx graph"):
        jc.relay_sum("chain")


def test_interleave_runs_each_coordinate_through_its_own_mixer(values):
    trees = jc.topology.binary_tree(6), jc.topology.binary_tree(6, reverse=True)
    mixer = jc.interleave(*(jc.relay_sum(tree, fill="own") for tree in trees))
    inputs = [{"b": jnp.asarray(x), "a": jnp.asarray(x[:, 0] ** 2)} for x in values]
    flat = [np.concatenate([np.asarray(x["a"])[:, None], np.asarray(x["b"])], 1) for x in inputs]
    parts = [
        oracles.relay_sum([x[:, i::2] for x in flat], tree.graph.edges, start=flat[0], fill="own")
        for i, tree in enumerate(trees)
    ]
    state = mixer.init(inputs[0])
    for t, x in enumerate(inputs):
        mixed, state = mixer.update(x, state, key=KEY, step=t)
        np.testing.assert_allclose(mixed["a"], parts[0][t][:, 0], atol=1e-10)
        np.testing.assert_allclose(mixed["b"][:, 0], parts[1][t][:, 0], atol=1e-10)
        np.testing.assert_allclose(mixed["b"][:, 1], parts[0][t][:, 1], atol=1e-10)
        np.testing.assert_allclose(mixed["b"][:, 2], parts[1][t][:, 1], atol=1e-10)
    size = 8 * 4
    degrees = (trees[0].degrees + trees[1].degrees) / 2
    np.testing.assert_allclose(jc.metrics.bytes_sent(mixer, inputs[0]), degrees * size)
    with pytest.raises(ValueError, match="7 are too many for 4 coordinates"):
        jc.interleave(*[jc.all_reduce()] * 7).init(inputs[0])


def test_lazy_is_half_of_the_way(values):
    outputs, _ = drive(jc.lazy(jc.gossip(GRAPHS["ring"])), values)
    matrix = (oracles.metropolis(GRAPHS["ring"].graph.edges, 6) + np.eye(6)) / 2
    np.testing.assert_allclose(outputs, matrix @ np.stack(values), atol=1e-10)
    with pytest.raises(ValueError, match=r"weight must be in \(0, 1\], got 0"):
        jc.lazy(jc.all_reduce(), 0)


@pytest.mark.parametrize("rounds, n", [(1, 6), (2, 6), (3, 8)])
def test_one_peer_exponential(x64, rounds, n):
    values = list(np.random.default_rng(0).normal(size=(5, n, 3)))
    outputs, _ = drive(jc.one_peer_exponential(n, rounds=rounds), values)
    for t, (x, out) in enumerate(zip(values, outputs, strict=True)):
        for j in range(rounds):
            x = (x + np.roll(x, 2 ** ((t * rounds + j) % 3), 0)) / 2
        np.testing.assert_allclose(out, x, atol=1e-10)
        if n == 8:  # log2(n) exchanges of a power of two are an exact average
            np.testing.assert_allclose(out, np.broadcast_to(values[t].mean(0), out.shape))
    lost = jc.one_peer_exponential(n, channel=jc.channels.drop(1.0))
    np.testing.assert_array_equal(drive(lost, values)[0], values)


def test_push_sum_finds_the_mean_over_a_directed_graph(x64):
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 5), (5, 0), (2, 4)])
    x = np.random.default_rng(0).normal(size=(6, 2))
    share = np.zeros((6, 6))
    for j in graph:
        for i in [j, *graph.successors(j)]:
            share[i, j] = 1 / (1 + graph.out_degree(j))
    mixer, y, w = jc.push_sum(graph), x.copy(), np.ones(6)
    state, z = mixer.init(jnp.asarray(x)), jnp.asarray(x)
    moves = np.random.default_rng(1).normal(size=(60, 6, 2)) * (np.arange(60) < 5)[:, None, None]
    for t in range(60):
        z, state = mixer.update(z + moves[t], state, key=KEY, step=t)
        y, w = share @ (y + moves[t]), share @ w
        np.testing.assert_allclose(z, y / w[:, None], atol=1e-10)
    total = (x + moves.sum(0)).mean(0)
    np.testing.assert_allclose(z, np.broadcast_to(total, z.shape), atol=1e-6)
    assert jc.metrics.bytes_sent(mixer, jnp.asarray(x)).tolist() == [32, 16, 32, 16, 16, 16]
    with pytest.raises(ValueError, match="strongly connected"):
        jc.push_sum(nx.DiGraph([(0, 1)]))
    with pytest.raises(TypeError, match="graph must be a networkx DiGraph, got Graph"):
        jc.push_sum(nx.Graph([(0, 1)]))


def test_push_sum_loses_value_and_weight_together(x64):
    """Whatever is lost, a common value stays the common value."""
    graph = nx.gnp_random_graph(8, 0.5, seed=1, directed=True)
    mixer, x = jc.push_sum(graph, jc.channels.drop(0.5)), jnp.full((8, 2), 3.0)
    state = mixer.init(x)
    for t in range(5):
        x, state = mixer.update(x, state, key=jax.random.fold_in(KEY, t), step=t)
    np.testing.assert_allclose(x, 3.0)
    assert state.weight.max() < 1


def test_relay_sum_averages_everything_after_the_diameter(x64):
    """On a reliable tree, a value that stays put is averaged exactly once it has travelled."""
    x = np.random.default_rng(1).normal(size=(6, 2))
    outputs, state = drive(jc.relay_sum(GRAPHS["chain"]), [x] * 6)
    np.testing.assert_allclose(outputs[-1], np.broadcast_to(x.mean(0), x.shape), atol=1e-12)
    chex.assert_trees_all_equal(1 + state.counts.sum(1), jnp.full(6, 6))
