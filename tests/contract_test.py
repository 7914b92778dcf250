"""Every algorithm of tests/contract.py goes through the same checks."""

import inspect

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import jcollab as jc
from tests.contract import ALGORITHMS, KEY, RANDOM, N, T, make, problem, train

each = pytest.mark.parametrize("name", ALGORITHMS)


@each
def test_argument_names_and_order(name):
    algorithm = make(name)
    assert isinstance(algorithm, jc.Algorithm)
    assert list(inspect.signature(algorithm.init).parameters)[:2] == ["key", "params"]
    assert list(inspect.signature(algorithm.update).parameters) == ["state", "batch", "key"]


@each
def test_state_is_a_fixed_point_and_eager_equals_jit(name):
    algorithm, (params, batches) = make(name), problem()
    state = algorithm.init(KEY, params)
    assert isinstance(state, jc.State) and state.step.dtype == jnp.int32
    chex.assert_tree_shape_prefix(state.clients, (N,))
    batch = jax.tree.map(lambda leaf: leaf[0], batches)
    eager, log = algorithm.update(state, batch, KEY)
    chex.assert_trees_all_equal_structs(state, eager)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, eager)
    assert eager.step == 1 and all(v.shape == () for v in log.values()) and "loss" in log
    compiled, _ = jax.jit(algorithm.update)(state, batch, KEY)
    chex.assert_trees_all_close(eager, compiled, atol=1e-6)


@each
def test_a_run_is_traced_once_and_equals_its_rounds(name):
    algorithm = make(name)
    traces = []

    def update(state, batch, key):
        traces.append(0)
        return algorithm.update(state, batch, key)

    counted = jc.Algorithm(algorithm.init, update)
    params, batches = problem()
    state, log = train(counted)
    before = len(traces)
    state, log = train(counted)
    assert len(traces) == before
    assert log["loss"].shape == (T,)

    one = algorithm.init(KEY, params)
    for t in range(T):
        piece = jax.tree.map(lambda leaf: leaf[t : t + 1], batches)  # noqa: B023
        one, _ = jc.run(algorithm, one, piece, KEY)
    chex.assert_trees_all_close(one, state, atol=1e-6)


@each
def test_vmap_over_seeds_equals_a_loop(name):
    algorithm, (params, batches) = make(name), problem()
    keys = jax.random.split(KEY, 2)

    def final(key):
        return jc.run(algorithm, algorithm.init(key, params), batches, key)[0]

    stacked = jax.vmap(final)(keys)
    for i, key in enumerate(keys):
        one = jax.tree.map(lambda leaf: leaf[i], stacked)  # noqa: B023
        chex.assert_trees_all_close(one, final(key), atol=1e-6)


@each
def test_several_devices_equal_one(name):
    """On 4 devices; the slow tests run this file once more on 8."""
    algorithm, (params, batches) = make(name), problem()
    expected, expected_log = train(algorithm)
    mesh = jc.layout.mesh()
    with jc.layout.use(mesh):
        state = jc.layout.place(algorithm.init(KEY, params), mesh)
        state, log = jc.run(algorithm, state, batches, KEY)
    chex.assert_trees_all_close(jax.device_get(state), jax.device_get(expected), atol=1e-6)
    chex.assert_trees_all_close(jax.device_get(log), jax.device_get(expected_log), atol=1e-6)
    for leaf in jax.tree.leaves(state.clients):
        assert len(leaf.sharding.device_set) == mesh.size > 1


@each
def test_pmap_equals_one_device(name):
    algorithm, (params, batches) = make(name), problem()
    expected, expected_log = train(algorithm)
    spread = jc.layout.pmap(algorithm)
    state, log = jc.run(spread, spread.init(KEY, params), batches, KEY)
    chex.assert_trees_all_close(jax.device_get(state), jax.device_get(expected), atol=1e-6)
    chex.assert_trees_all_close(jax.device_get(log), jax.device_get(expected_log), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in RANDOM])
def test_relabelling_clients_relabels_the_result(name):
    new = np.random.default_rng(0).permutation(N)  # client i becomes new[i]
    old = np.argsort(new)

    def relabel(topology):
        graph = nx.empty_graph(N)
        graph.add_edges_from((new[u], new[v]) for u, v in topology.graph.edges)
        return jc.topology.from_networkx(graph)

    params, batches = problem()
    state, log = train(make(name))
    algorithm = make(name, relabel)
    start = algorithm.init(KEY, jax.tree.map(lambda leaf: leaf[old], params))
    moved, moved_log = jc.run(
        algorithm, start, jax.tree.map(lambda leaf: leaf[:, old], batches), KEY
    )
    models = jc.params_of(state)
    if jax.tree.leaves(models)[0].shape[0] == N:
        models = jax.tree.map(lambda leaf: leaf[old], models)
    chex.assert_trees_all_close(jc.params_of(moved), models, atol=1e-5)
    chex.assert_trees_all_close(moved_log, log, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if ALGORITHMS[name][1]])
def test_mean_is_kept_without_learning(name):
    params, _ = problem()
    state, _ = train(make(name, rate=0.0))
    for before, after in zip(
        jax.tree.leaves(params), jax.tree.leaves(jc.params_of(state)), strict=True
    ):
        np.testing.assert_allclose(before.mean(0), after.mean(0), atol=1e-6)


@each
def test_state_survives_serialisation(name):
    algorithm = make(name)
    state, _ = train(algorithm)
    target = algorithm.init(KEY, problem(1)[0])
    restored = flax.serialization.from_bytes(target, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)
