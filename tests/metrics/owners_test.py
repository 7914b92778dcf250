"""Evaluation of every client on its own examples, against a loop over clients."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

SIZES = [1, 7, 3, 12, 2]


def examples(seed=0, classes=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(sum(SIZES), 4)).astype(np.float32)
    return jc.data.Dataset(x, rng.integers(0, classes, len(x)).astype(np.int32))


def ranges():
    return jc.data.by_owner(examples(), owners=np.repeat(["a", "b", "c", "d", "e"], SIZES))


def lists():
    x, y = examples()
    return jc.data.by_client((x, y), np.split(np.arange(len(y)), np.cumsum(SIZES)[:-1]))


def predict(params, x):
    return x @ params["w"] + params["b"]


def models(n):
    keys = jax.random.split(jax.random.key(1), 2)
    return {"w": jax.random.normal(keys[0], (n, 4, 3)), "b": jax.random.normal(keys[1], (n, 3))}


def loop(params, measure):
    x, y = examples()
    parts = np.split(np.arange(len(y)), np.cumsum(SIZES)[:-1])
    each = []
    for i, part in enumerate(parts):
        own = {name: np.asarray(leaf)[i if len(leaf) > 1 else 0] for name, leaf in params.items()}
        each.append(measure(x[part] @ own["w"] + own["b"], y[part]))
    return each


@pytest.mark.parametrize("data", [ranges, lists])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 128])
def test_accuracy_of_a_common_model_and_of_personal_models(data, n, batch_size):
    params = models(n)
    right = loop(params, lambda logits, y: logits.argmax(-1) == y)
    result = jc.metrics.by_client(predict, data(), batch_size=batch_size)(params)
    own = np.array([r.mean() for r in right], np.float32)
    expected = {
        "mean_accuracy": own.mean(),
        "weighted_accuracy": np.concatenate(right).mean(),
        "worst_accuracy": own.min(),
        "accuracy_deciles": np.quantile(own, np.linspace(0, 1, 11)),
        "accuracy_histogram": np.histogram(own, np.linspace(0, 1, 11))[0],
        "client_accuracy": own,
    }
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_another_measure():
    def distance(predictions, y):
        return (predictions[:, 0] - y) ** 2

    evaluate = jc.metrics.by_client(
        predict, ranges(), measure=distance, name="error", higher_is_better=False, edges=None
    )
    params = models(5)
    own = np.array([v.mean() for v in loop(params, lambda p, y: (p[:, 0] - y) ** 2)])
    result = evaluate(params)
    assert "error_histogram" not in result
    np.testing.assert_allclose(result["client_error"], own, rtol=1e-5)
    np.testing.assert_allclose(result["worst_error"], own.max(), rtol=1e-5)


def test_model_of_a_server_with_the_state_of_each_client():
    def stateful(params, statistics, x):
        return predict(params, x) + statistics

    def loss(params, statistics, batch, key):
        return 0.0, statistics, {}

    params, shift = models(1), 5 * jnp.eye(5, 3)
    algorithm = jc.federated(jc.stateful(loss), optax.sgd(0.1), num_clients=5, model_state="keep")
    state = algorithm.init(jax.tree.map(lambda leaf: leaf[0], params), jnp.zeros(3))
    state = state._replace(clients=state.clients._replace(model_state=shift))
    personal = jax.tree.map(lambda leaf: jnp.repeat(leaf, 5, 0), params)
    personal["b"] = personal["b"] + shift
    expected = jc.metrics.by_client(predict, ranges())(personal)
    got = jc.metrics.by_client(jc.stateful(stateful), ranges())(state)
    chex.assert_trees_all_close(got, expected, rtol=1e-5)


def test_evaluation_of_a_run():
    data = jc.data.by_owner(examples(), owners=np.repeat(np.arange(5), SIZES))
    train, test = jc.data.split(data, at_least=3, seed=1)
    model = nn.Dense(3)
    params = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    loss = jc.objectives.classification(model.apply)
    algorithm = jc.federated(loss, optax.sgd(0.1), num_clients=3)
    result = jc.fit(
        algorithm,
        algorithm.init(params),
        jc.data.minibatches(train, 4),
        jax.random.key(1),
        num_rounds=2,
        evaluate=jc.metrics.by_client(model.apply, test),
        listeners=(),
    )
    assert result.evaluations["client_accuracy"].shape == (3, 3)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"edges": [1, 0]}, ValueError, "edges must be increasing"),
        ({"measure": 3}, TypeError, "measure must be a function, got int"),
        ({"predict": None}, TypeError, "predict must be a function"),
        ({"data": np.ones(3)}, TypeError, "data must be made by by_client"),
        ({"data": jc.data.by_owner(np.ones(3), sizes=[3])}, TypeError, r"examples \(x, y\)"),
    ],
)
def test_wrong_arguments(change, error, message):
    options = {"predict": predict, "data": ranges()} | change
    with pytest.raises(error, match=message):
        jc.metrics.by_client(options.pop("predict"), options.pop("data"), **options)


def test_what_does_not_fit_at_the_call():
    with pytest.raises(ValueError, match="models must be 1 or those of n=5 clients, got 4"):
        jc.metrics.by_client(predict, ranges())(models(4))
    with pytest.raises(ValueError, match="measure must return one value for each of the b="):
        jc.metrics.by_client(predict, ranges(), measure=lambda p, y: p)(models(1))
    high = jc.data.by_owner((examples()[0], np.full(sum(SIZES), 3)), sizes=SIZES)
    with pytest.raises(ValueError, match=r"y must be .*0\.\.2"):
        jc.metrics.by_client(predict, high)(models(1))
