import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

KEY = jax.random.key(0)


def loss(params, batch, key):
    return jnp.mean((params - batch + jax.random.normal(key)) ** 2)


ALGORITHM = jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce())
BATCHES = jnp.arange(24.0).reshape(6, 4, 1)
ROUNDS = jc.data.stacked(BATCHES)


def start():
    return ALGORITHM.init(jnp.zeros((4, 1)))


def test_batches_of_a_function_equal_stacked_ones():
    whole, log = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    drawn = jc.data.from_function(lambda data, key, step: data[step], BATCHES)
    same, same_log = jc.run(ALGORITHM, start(), drawn, KEY, num_rounds=6)
    chex.assert_trees_all_close((whole, log), (same, same_log), rtol=1e-6)


def test_a_run_in_pieces_is_the_same_run():
    whole, log = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    half, first = jc.run(ALGORITHM, start(), ROUNDS, KEY, num_rounds=2)
    end, last = jc.run(ALGORITHM, half, ROUNDS, KEY)  # all that are left
    chex.assert_trees_all_close(whole, end, rtol=1e-6)  # of loops of other lengths
    parts = np.concatenate([first["loss"], last["loss"]])
    np.testing.assert_allclose(log["loss"], parts, rtol=1e-6)


def test_donation_spends_the_state_only_when_asked():
    state = start()
    jc.run(ALGORITHM, state, ROUNDS, KEY)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    kept, _ = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    spent, _ = jc.run(ALGORITHM, state, ROUNDS, KEY, donate=True)
    assert state.clients.params.is_deleted() and state.step.is_deleted()
    chex.assert_trees_all_equal(kept, spent)
    with pytest.raises(ValueError, match="state must be the last one that a run returned"):
        jc.run(ALGORITHM, state, ROUNDS, KEY)


def test_run_names_what_is_wrong():
    state, _ = jc.run(ALGORITHM, start(), ROUNDS, KEY, num_rounds=4)
    with pytest.raises(
        ValueError, match="num_rounds must be at most 2, since batches has 6 .*got 3"
    ):
        jc.run(ALGORITHM, state, ROUNDS, KEY, num_rounds=3)
    with pytest.raises(
        TypeError, match="algorithm must be an Algorithm, got the function loss itself"
    ):
        jc.run(loss, start(), ROUNDS, KEY)
    with pytest.raises(TypeError, match=r"batches must be made by jcollab.data .*got ArrayImpl"):
        jc.run(ALGORITHM, start(), BATCHES, KEY)
    with pytest.raises(ValueError, match="num_rounds must be given.*, got None"):
        jc.run(ALGORITHM, start(), jc.data.from_function(lambda d, k, s: d[0], BATCHES), KEY)
    with pytest.raises(ValueError, match="data must have leaves"):
        jc.run(
            ALGORITHM,
            start(),
            jc.data.stacked({"a": jnp.zeros((2, 4)), "b": jnp.zeros((3, 4))}),
            KEY,
        )
    with pytest.raises(ValueError, match="batch must lead with n=4, the clients of params, got"):
        jc.run(ALGORITHM, start(), jc.data.stacked(jnp.zeros((2, 5, 1))), KEY)
    with pytest.raises(ValueError, match="got a scalar"):
        ALGORITHM.init({"w": jnp.zeros(())})
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        jc.replicate(jnp.zeros(2), 0)


def test_losses_of_either_form():
    def carrying(params, model_state, batch, key):
        return jnp.mean((params - batch) ** 2), model_state + 1, {"seen": model_state}

    algorithm = jc.decentralized(jc.stateful(carrying), optax.sgd(0.1), jc.identity())
    state = algorithm.init(jnp.zeros((4, 1)), jnp.zeros(4))
    state, log = jc.run(algorithm, state, ROUNDS, KEY)
    assert state.clients.model_state.tolist() == [6.0] * 4
    assert log["seen"].tolist() == list(range(6))
    with pytest.raises(TypeError, match="loss must be a function, got int"):
        jc.centralized(3, optax.sgd(0.1))
    with pytest.raises(TypeError, match="function must be a function, got str"):
        jc.stateful("loss")
    for wrong, message in (
        (carrying, r"called as loss\(params, batch, key\). Mark it by jc.stateful"),
        (lambda params: 0.0, r"called as loss\(params, batch, key\)"),
        (jc.stateful(loss), r"called as loss\(params, model_state, batch, key\)"),
        (jc.stateful(lambda p, s, b, k: p), r"loss must return \(value, model_state, metrics\)"),
        (lambda p, b, k: (p, (), {}), r"loss must return value or .*got a tuple of 3"),
    ):
        algorithm = jc.decentralized(wrong, optax.sgd(0.1), jc.identity())
        with pytest.raises(TypeError, match=message):
            jc.run(algorithm, algorithm.init(jnp.zeros((4, 1))), ROUNDS, KEY)
    longer = jc.stateful(lambda p, s, b, k: (p.sum(), {"a": jnp.zeros(3)}, {}))
    algorithm, batch = jc.federated(longer, optax.sgd(0.1)), jnp.zeros((4, 1, 1))
    with pytest.raises(ValueError, match=r"model_state\['a'\] of shape \[2\], got of shape \[3\]"):
        algorithm.update(algorithm.init(jnp.zeros((4, 1)), {"a": jnp.zeros((4, 2))}), batch, KEY)


def test_with_metrics_reports_functions_and_dictionaries():
    algorithm = jc.with_metrics(
        ALGORITHM, jc.metrics.consensus_distance, lambda state: {"step": state.step}
    )
    _, log = jc.run(algorithm, start(), ROUNDS, KEY)
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(log["consensus_distance"], 0, atol=1e-12)
    with pytest.raises(ValueError, match=r"different names, got \['loss'\] twice"):
        jc.run(
            jc.with_metrics(ALGORITHM, lambda s: {"loss": s.step}),
            start(),
            ROUNDS,
            KEY,
        )
    with pytest.raises(TypeError, match=r"metrics\[0\] must be a function, got str"):
        jc.with_metrics(ALGORITHM, "loss")


def test_all_reduce_of_one_step_is_centralized():
    """With plain SGD the mean of the models and the model of the mean gradient are the same."""
    state, _ = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    central = jc.centralized(lambda p, batch, key: jnp.mean((p - batch) ** 2), optax.sgd(0.1))
    quiet = jc.decentralized(
        lambda p, batch, key: jnp.mean((p - batch) ** 2), optax.sgd(0.1), jc.all_reduce()
    )
    one, _ = jc.run(central, central.init(jnp.zeros((4, 1))), ROUNDS, KEY)
    many, _ = jc.run(quiet, quiet.init(jnp.zeros((4, 1))), ROUNDS, KEY)
    np.testing.assert_allclose(
        np.broadcast_to(jc.params_of(one), (4, 1)), jc.params_of(many), rtol=1e-6
    )
    assert state.step == 6


Z = jnp.array([[1.0, 2.0, 4.0], [0.0, 0.0, 1.0], [3.0, 1.0, 0.0], [1.0, 5.0, 2.0]])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_labels_out_of_range_are_errors_where_they_are_known_and_nan_where_they_are_not(dtype):
    right = np.array([2, 0, 0, 1], dtype)
    truth = np.log(np.exp(Z).sum(1)) - np.asarray(Z)[np.arange(4), right]
    np.testing.assert_allclose(jc.core.cross_entropy(Z, right), truth, rtol=1e-6)
    np.testing.assert_array_equal(jc.core.one_hot(right, 3), np.eye(3)[right])
    wrong = np.array([2, 3, 0, 255 if dtype == np.uint8 else -1], dtype)
    with pytest.raises(ValueError, match="y must be in 0..2, got"):
        jc.core.cross_entropy(Z, wrong)
    with pytest.raises(ValueError, match="y must be in 0..2, got"):
        jc.core.one_hot(wrong, 3)
    gradient = jax.jit(jax.vmap(jax.value_and_grad(jc.core.cross_entropy)))(Z, wrong)
    bad = np.array([False, True, False, True])
    for value in (
        gradient[0][:, None],
        gradient[1],
        jax.jit(jc.core.one_hot, static_argnums=1)(wrong, 3),
    ):
        np.testing.assert_array_equal(np.isnan(value).all(1), bad)
        np.testing.assert_array_equal(np.isnan(value).any(1), bad)


@pytest.mark.parametrize(
    "y, error, message",
    [
        (np.array([[2], [0], [0], [1]]), ValueError, r"y must have shape \[4\].*; use y\[:, 0\]"),
        (
            np.array([2.0, 0, 0, 1]),
            TypeError,
            r"y must be labels, int \[4\], or prob.*float32 \[4\]",
        ),
        (np.array([True, False, False, True]), TypeError, "y must be labels.*got bool"),
        (np.eye(4), ValueError, r"probabilities, float \[4, 3\], got float32 \[4, 4\]"),
        (np.array([0, 1]), ValueError, r"y must have shape \[4\], got \[2\]"),
    ],
)
def test_labels_of_another_form_are_refused_when_a_loss_is_traced(y, error, message):
    loss = jc.objectives.classification(lambda params, x: x)
    with pytest.raises(error, match=message):
        jax.eval_shape(loss, (), jc.data.Dataset(Z, y), KEY)


def test_a_prediction_that_is_nan_is_neither_right_nor_wrong():
    broken = Z.at[1, 2].set(jnp.nan)
    right = jc.core.is_right(broken, np.array([2, 0, 1, 1]))
    np.testing.assert_array_equal(right, [1, np.nan, 0, 1])
    measure = jc.metrics.accuracy(lambda params, x: x + params, Z, np.array([2, 0, 0, 1]))
    result = measure(jnp.array([0.0, np.nan]))
    np.testing.assert_array_equal(result["client_accuracy"], [0.75, np.nan])
    assert np.isnan(result["averaged_model_accuracy"])
    with pytest.raises(ValueError, match="y must be in 0..2, got 0..3"):
        jc.metrics.accuracy(lambda params, x: x, Z, np.array([0, 1, 2, 3]))(jnp.zeros(2))


def test_labels_out_of_range_stop_a_run():
    loss = jc.objectives.classification(lambda params, x: x @ params)
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.identity())
    data = jc.data.Dataset(jnp.ones((1, 3, 2)), jnp.array([[1, 2, 3]]))  # three classes, from 1 on
    with pytest.raises(jc.training.Diverged, match="loss is not finite in round 1.*labels"):
        jc.fit(
            algorithm, algorithm.init(jnp.zeros((1, 2, 3))), jc.data.full_batch(data), KEY,
            num_rounds=2, listeners=(),
        )  # fmt: skip
