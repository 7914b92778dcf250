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
    state = jc.State(jc.Clients(models, (), (), ()), (), jnp.int32(0))
    said = jc.metrics.accuracy(lambda model, x: x @ model, x, y)(state)
    assert said["client_accuracy"].tolist() == [1, 0, 1]
    assert said["worst_accuracy"] == 0 and said["averaged_model_accuracy"] == 1
    np.testing.assert_allclose(said["mean_accuracy"], 2 / 3)
    with pytest.raises(ValueError, match="one length of at least 1, got 3 and 2"):
        jc.metrics.accuracy(lambda m, x: x, x, y[:2])
