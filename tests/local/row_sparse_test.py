import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import objectives
from jcollab.local import row_sparse
from tests import REFERENCE

X2STATIC = REFERENCE / "x2static"
RECORDED = json.loads((X2STATIC / "loss_small.json").read_text())
ARRAYS = np.load(X2STATIC / "loss_small.npz")


def test_adam_of_rows_follows_the_recorded_trajectory():
    table = jnp.arange(15.0).reshape(5, 3) / 10
    optimizer = row_sparse.adam(1e-3)
    state = optimizer.init(table)
    for t, (ids, expected) in enumerate(
        zip(RECORDED["sparseadam_batches"], ARRAYS["sparseadam_traj"], strict=True)
    ):
        ids = jnp.asarray(ids)
        table, state = row_sparse.apply(optimizer, table, state, ids, 2 * table[ids], t + 1)
        np.testing.assert_allclose(table, expected, atol=1e-7)


@pytest.mark.parametrize("num_rows", [20, 5000])
def test_distinct_rows(num_rows):
    """Marked in a small table, sorted for a large one."""
    ids = np.random.default_rng(0).integers(-2, 22, (3, 13))
    ids[0, :4] = 7
    ids = np.where(ids >= 20, num_rows + 1, ids)
    rows, places = map(np.asarray, row_sparse.distinct(ids, num_rows))
    flat = ids.ravel()
    real = (flat >= 0) & (flat < num_rows)
    assert sorted(rows[rows < num_rows]) == sorted(set(flat[real]))
    np.testing.assert_array_equal(rows[places[real]], flat[real])
    assert (places[~real] == len(rows)).all() and len(rows) == min(39, num_rows)


@pytest.mark.parametrize("devices", [1, 2])
def test_rows_of_all_clients_equal_those_of_each(devices):
    tables = np.arange(2 * 4 * 3.0).reshape(2, 4, 3)
    rows = np.array([[3, 4, 0], [-1, 2, 4]])  # 4 and -1 are rows of nobody
    values = -1 - np.arange(2 * 3 * 3.0).reshape(2, 3, 3)
    expected = tables.copy()
    expected[0, [3, 0]], expected[1, 2] = values[0, [0, 2]], values[1, 1]
    with jc.layout.use(jc.layout.mesh(devices)):
        got = row_sparse.put_each(*map(jnp.asarray, (tables, rows, values)))
        taken = row_sparse.take_each(jnp.asarray(tables), jnp.asarray(rows))
    np.testing.assert_array_equal(got, expected)
    zero = np.zeros(3)
    np.testing.assert_array_equal(taken[0], [tables[0, 3], zero, tables[0, 0]])
    np.testing.assert_array_equal(taken[1], [zero, tables[1, 2], zero])


def dense_adam(table, batches, losses, rate):
    """Row by row in NumPy, with moments of touched rows only."""
    m, v, table = np.zeros_like(table), np.zeros_like(table), table.copy()
    for t, (batch, grad) in enumerate(zip(batches, losses, strict=True), 1):
        g = np.asarray(grad(table, batch))
        for row in {*np.ravel(batch["targets"]), *np.ravel(batch["negatives"])}:
            m[row] = 0.9 * m[row] + 0.1 * g[row]
            v[row] = 0.999 * v[row] + 0.001 * g[row] ** 2
            scale = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            table[row] -= scale * m[row] / (np.sqrt(v[row]) + 1e-8)
    return table


@pytest.mark.parametrize("distinct", [False, True])
def test_clients_with_tables_equal_a_loop(distinct):
    n, size, d, count, rounds = 2, 30, 4, 5, 4
    rng = np.random.default_rng(0)
    start = rng.normal(size=(n, size, d)).astype(np.float32)
    batches = {
        "contexts": rng.normal(size=(rounds, n, count, d)).astype(np.float32),
        "targets": rng.integers(0, size, (rounds, n, count)),
        "negatives": rng.integers(0, size, (rounds, n, 3, count)),
    }
    loss, rows = objectives.x2static_loss(), objectives.x2static_rows
    algorithm = jc.algorithms.sparse_decentralized(
        loss, rows, row_sparse.adam(0.1), distinct=distinct
    )
    key = jax.random.key(0)
    state, log = jc.run(algorithm, algorithm.init({"words": start}), jc.data.stacked(batches), key)
    assert log["loss"].shape == (rounds,)
    grad = jax.grad(lambda table, batch: objectives.x2static(table, **batch))
    for i in range(n):
        own = [{k: v[t, i] for k, v in batches.items()} for t in range(rounds)]
        expected = dense_adam(start[i], own, [grad] * rounds, 0.1)
        np.testing.assert_allclose(state.clients.params["words"][i], expected, atol=2e-5)
    mixer = jc.mix_every(rounds, jc.all_reduce())
    mixed = jc.algorithms.sparse_decentralized(
        loss, rows, row_sparse.adam(0.1), mixer, distinct=distinct
    )
    together, _ = jc.run(mixed, mixed.init({"words": start}), jc.data.stacked(batches), key)
    np.testing.assert_allclose(
        together.clients.params["words"][1], state.clients.params["words"].mean(0), atol=1e-6
    )


@pytest.mark.parametrize("lines", [None, jnp.array([[0, 0, 1]])])
def test_ids_of_no_row_are_zero_vectors_either_way(lines):
    rng = np.random.default_rng(0)
    start = {"words": jnp.asarray(rng.normal(size=(1, 9, 4)))}
    batch = {"targets": jnp.array([[1, -1, 8]]), "negatives": jnp.array([[[9, 2, 1], [8, 8, -3]]])}
    batch["contexts"] = jnp.asarray(rng.normal(size=(1, 3 if lines is None else 2, 4)))
    batch |= {} if lines is None else {"lines": lines}
    ended = []
    for distinct in (False, True):
        algorithm = jc.algorithms.sparse_decentralized(
            objectives.x2static_loss(),
            objectives.x2static_rows,
            row_sparse.sgd(0.5),
            distinct=distinct,
        )
        state = algorithm.init(start)
        state, metrics = algorithm.update(state, batch, jax.random.key(0))
        ended.append((metrics["loss"], state.clients.params["words"]))
    chex.assert_trees_all_close(*ended, rtol=1e-5, atol=1e-6)
    moved = np.flatnonzero((ended[0][1] != start["words"]).any((0, 2)))
    assert moved.tolist() == [1, 2, 8]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"b1 must be in \[0, 1\), got 1"):
        row_sparse.adam(b1=1.0)
    with pytest.raises(ValueError, match="learning_rate must be positive, got 0"):
        row_sparse.sgd(0)
    with pytest.raises(ValueError, match=r"grads must be .*\(2, 3\), got \(2, 2\)"):
        row_sparse.apply(
            row_sparse.sgd(1), jnp.ones((4, 3)), (), jnp.arange(2), jnp.ones((2, 2)), 1
        )
    with pytest.raises(ValueError, match="clip must be positive, got 0"):
        objectives.x2static_loss(0)
    with pytest.raises(ValueError, match=r"contexts must have shape \(3, 4\)"):
        objectives.x2static(
            jnp.ones((5, 4)), jnp.ones((3, 3)), jnp.arange(3), jnp.ones((2, 3), int)
        )
    loss, rows = objectives.x2static_loss(), lambda batch: {"other": batch}
    with pytest.raises(TypeError, match="optimizer must be a RowOptimizer.*, got GradientTransf"):
        jc.algorithms.sparse_decentralized(loss, rows, optax.sgd(0.1))
    algorithm = jc.algorithms.sparse_decentralized(loss, rows, row_sparse.sgd(1))
    with pytest.raises(TypeError, match="params must be a dictionary of tables, got ArrayImpl"):
        algorithm.init(jnp.ones((1, 2, 3)))
    state = algorithm.init({"words": jnp.ones((1, 2, 3))})
    once = jc.algorithms.sparse_decentralized(loss, rows, row_sparse.sgd(1), distinct=True)
    with pytest.raises(TypeError, match="batch must be a dictionary, got ArrayImpl"):
        once.update(state, jnp.zeros((1, 2), int), jax.random.key(0))
    with pytest.raises(ValueError, match=r"rows must name some of \['words'\], got \['other'\]"):
        algorithm.update(state, jnp.zeros((1, 2), int), jax.random.key(0))
