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
from tests.contract import ALGORITHMS, KEY, KEYS, RANDOM, N, T, baseline, make, problem

each = pytest.mark.parametrize("name", ALGORITHMS)
# of float32 numbers near 1, after T rounds whose operations come in another order
ROUNDING = {"atol": 1e-6, "rtol": 1e-6}


def run(algorithm, data=None, key=KEY):
    params, batches = problem() if data is None else data
    return jc.run(algorithm, algorithm.init(key, params), batches, key)


def assert_same_run(got, name):
    expected = baseline(name).states[0], baseline(name).logs[0]
    chex.assert_trees_all_close(*jax.device_get((got, expected)), **ROUNDING)


@each
def test_a_run_is_traced_once(name):
    assert baseline(name).traces == (1, 1)


@each
def test_arguments_and_the_form_of_a_state(name):
    algorithm, state = baseline(name).algorithm, baseline(name).start
    assert isinstance(algorithm, jc.Algorithm)
    assert list(inspect.signature(algorithm.init).parameters)[:2] == ["key", "params"]
    assert list(inspect.signature(algorithm.update).parameters) == ["state", "batch", "key"]
    assert isinstance(state, jc.State) and state.step.dtype == jnp.int32
    chex.assert_tree_shape_prefix(state.clients, (N,))
    end, log = baseline(name).states[0], baseline(name).logs[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(state, end)
    assert end.step == T and "loss" in log and all(v.shape == (T,) for v in log.values())
    assert np.isfinite(log["loss"]).all()
    models = jc.params_of(state), jc.params_of(end)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, models), strict=True))


@each
def test_rounds_one_by_one_equal_a_run_and_eager_equals_compiled(name):
    algorithm, state = baseline(name).algorithm, baseline(name).start
    batches, logs = problem()[1], []
    for t in range(T):
        piece = jax.tree.map(lambda leaf: leaf[t : t + 1], batches)  # noqa: B023
        state, log = jc.run(algorithm, state, piece, KEY)
        logs.append(log)
        if t == 0:
            first = state, log
    whole = jax.tree.map(lambda *rounds: jnp.concatenate(rounds), *logs)
    assert_same_run((state, whole), name)
    _, key = jax.random.split(jax.random.fold_in(KEY, 0))  # as a run draws it
    batch = jax.tree.map(lambda leaf: leaf[0], batches)
    eager, log = algorithm.update(baseline(name).start, batch, key)
    chex.assert_trees_all_equal_shapes_and_dtypes(eager, first[0])
    log = jax.tree.map(lambda value: value[None], log)
    chex.assert_trees_all_close((eager, log), first, **ROUNDING)


@each
def test_vmap_over_seeds_equals_a_loop(name):
    algorithm = baseline(name).algorithm
    stacked = jax.vmap(lambda key: run(algorithm, key=key))(jnp.stack(KEYS))
    for i in range(len(KEYS)):
        one = jax.tree.map(lambda leaf: leaf[i], stacked)  # noqa: B023
        alone = baseline(name).states[i], baseline(name).logs[i]
        chex.assert_trees_all_close(one, alone, **ROUNDING)


@each
def test_several_devices_equal_one(name):
    """On 4 devices; the slow tests run this file once more on 8."""
    algorithm, batches, mesh = baseline(name).algorithm, problem()[1], jc.layout.mesh()
    with jc.layout.use(mesh):
        state = jc.layout.place(baseline(name).start, mesh)
        state, log = jc.run(algorithm, state, batches, KEY)
    assert_same_run((state, log), name)
    for leaf in jax.tree.leaves(state.clients):
        assert len(leaf.sharding.device_set) == mesh.size > 1


@each
def test_pmap_equals_one_device(name):
    assert_same_run(run(jc.layout.pmap(baseline(name).algorithm)), name)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in RANDOM])
def test_relabelling_clients_relabels_the_result(name):
    new = np.random.default_rng(0).permutation(N)  # client i becomes new[i]
    old = np.argsort(new)

    def relabel(topology):
        graph = nx.empty_graph(N)
        graph.add_edges_from((new[u], new[v]) for u, v in topology.graph.edges)
        return jc.topology.from_networkx(graph)

    params, batches = problem()
    relabeled = (
        jax.tree.map(lambda leaf: leaf[old], params),
        jax.tree.map(lambda leaf: leaf[:, old], batches),
    )
    moved, moved_log = run(make(name, relabel), relabeled)
    models = jc.params_of(baseline(name).states[0])
    if jax.tree.leaves(models)[0].shape[0] == N:
        models = jax.tree.map(lambda leaf: leaf[old], models)
    chex.assert_trees_all_close(jc.params_of(moved), models, atol=1e-5)
    chex.assert_trees_all_close(moved_log, baseline(name).logs[0], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if ALGORITHMS[name][1]])
def test_mean_is_kept_without_learning(name):
    params, _ = problem()
    state, _ = run(make(name, rate=0.0))
    means = [jax.tree.map(lambda leaf: leaf.mean(0), x) for x in (params, jc.params_of(state))]
    chex.assert_trees_all_close(*means, rtol=1e-6, atol=1e-6)


@each
def test_state_survives_serialization(name):
    state = baseline(name).states[0]
    target = baseline(name).algorithm.init(KEY, problem(1)[0])
    restored = flax.serialization.from_bytes(target, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)
