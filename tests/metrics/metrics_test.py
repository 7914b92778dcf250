from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc


def test_consensus_distance_and_average_by_hand():
    x = {"a": np.random.default_rng(0).normal(size=(5, 3)), "b": np.arange(5.0)}
    flat = np.concatenate([x["a"], x["b"][:, None]], 1)
    expected = np.mean(np.sum((flat - flat.mean(0)) ** 2, 1))
    x = jax.tree.map(jnp.asarray, x)
    np.testing.assert_allclose(jc.metrics.consensus_distance(x), expected, rtol=1e-5)
    np.testing.assert_allclose(jc.metrics.averaged_model(x)["b"], 2.0)


def test_accuracy_of_each_client_the_worst_and_the_average():
    x, y = jnp.eye(3), jnp.arange(3)
    models = jnp.stack([jnp.eye(3), -jnp.eye(3), 3 * jnp.eye(3)])  # right, wrong, right
    state = jc.State(jc.core.Clients(models, (), (), ()), (), jnp.int32(0))
    result = jc.metrics.accuracy(lambda model, x: x @ model, x, y)(state)
    assert result["client_accuracy"].tolist() == [1, 0, 1]
    assert result["worst_accuracy"] == 0 and result["averaged_model_accuracy"] == 1
    np.testing.assert_allclose(result["mean_accuracy"], 2 / 3)
    bare = jc.metrics.accuracy(lambda model, x: x @ model, x, y)(models)  # no state around them
    assert bare["client_accuracy"].tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="one length of at least 1, got 3 and 2"):
        jc.metrics.accuracy(lambda m, x: x, x, y[:2])


def test_accuracy_does_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(101, 3)), rng.integers(0, 3, 101)
    state = jc.State(jc.core.Clients(jnp.asarray(rng.normal(size=(2, 3, 3))), (), (), ()), (), 0)
    whole = np.argmax(np.einsum("bi,nij->nbj", x, state.clients.params), -1) == y
    for size in (1, 7, 50, 101, 1000):
        result = jc.metrics.accuracy(lambda model, x: x @ model, x, y, batch_size=size)(state)
        np.testing.assert_allclose(result["client_accuracy"], whole.mean(1), rtol=1e-6)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        jc.metrics.accuracy(lambda m, x: x, x, y, batch_size=0)


def test_test_sets_can_be_traced():
    """Accuracy as a function of the data, for example of test sets of several tasks."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 7, 3)).astype(np.float32), rng.integers(0, 3, (4, 7))
    models = jnp.asarray(rng.normal(size=(2, 3, 3)), jnp.float32)

    def of_task(x, y):
        return jc.metrics.accuracy(predict, x, y, batch_size=3)(models)["client_accuracy"]

    expected = (np.einsum("tbi,nij->tnbj", x, models).argmax(-1) == y[:, None]).mean(-1)
    np.testing.assert_allclose(jax.vmap(of_task)(x, y), expected, rtol=1e-6)
    np.testing.assert_allclose(of_task(x[0], y[0]), expected[0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"y must be in 0..2, got"):
        of_task(x[0], y[0] + 1)


def predict(model, x):
    return x @ model


def test_accuracy_of_large_models_one_after_the_other():
    models = jnp.zeros((5, 300, 300)) + jnp.eye(300)  # too large to be vectorized on a CPU
    for rows in (3, 200):
        x, y = jnp.eye(300)[:rows], np.arange(rows)
        result = jc.metrics.accuracy(predict, x, y)(models)
        assert result["client_accuracy"].tolist() == [1] * 5


def test_metrics_among_some_clients():
    params = jnp.array([[0.0], [2.0], [100.0]])
    state = jc.State(jc.core.Clients(params, (), (), jnp.arange(3)), (), jnp.int32(0))
    honest = np.array([True, True, False])
    for clients in (honest, [0, 1]):
        result = jc.metrics.among(clients, jc.metrics.consensus_distance, prefix="honest_")(state)
        assert result == {"honest_consensus_distance": 1.0}
    with pytest.raises(ValueError, match="clients must have at least one"):
        jc.metrics.among(np.zeros(3, bool), jc.metrics.consensus_distance)


def test_accuracy_sees_what_models_carry_along():
    class Clients(NamedTuple):
        params: jax.Array
        model_state: jax.Array

    x, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
    clients = Clients(jnp.ones(2), jnp.array([1.0, -1.0]))
    predict = jc.stateful(lambda params, model_state, x: params * model_state * x)
    evaluate = jc.metrics.accuracy(predict, x, y)
    result = evaluate(jc.State(clients, (), jnp.int32(0)))
    np.testing.assert_array_equal(result["client_accuracy"], [1, 0])
    unmarked = jc.metrics.accuracy(predict.function, x, y)
    with pytest.raises(TypeError, match=r"called as predict\(params, x\). Mark it by jc.stateful"):
        unmarked(jc.State(clients, (), jnp.int32(0)))
    with pytest.raises(TypeError, match="predict must be a function, got int"):
        jc.metrics.accuracy(3, x, y)


@pytest.mark.parametrize("metric", [jc.metrics.consensus_distance, jc.metrics.averaged_model])
def test_complex_models_are_refused(metric):
    with pytest.raises(TypeError, match="values must be real to be averaged, got complex64"):
        metric({"w": jnp.zeros((3, 2), complex)})


def test_the_variance_of_gradients_of_models_with_state():
    """f_i(x) = s_i x b_i with the client's own state: gradients s_i b_i."""

    def loss(params, scale, batch, key):
        return jnp.sum(params * scale * batch), scale + 1, {}

    batch, scale = jnp.array([1.0, 2.0, 4.0]), jnp.array([3.0, 0.0, -1.0])
    state = jc.State(jc.core.Clients(jnp.ones(3), scale, (), ()), (), jnp.int32(0))
    measured = jc.metrics.gradient_variance(jc.stateful(loss), batch)(state)
    gradients = np.array([3.0, 0.0, -4.0])
    np.testing.assert_allclose(measured["gradient_variance"], gradients.var(), rtol=1e-6)
    np.testing.assert_allclose(measured["mean_loss"], gradients.mean(), rtol=1e-6)
