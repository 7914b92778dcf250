import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from tests.models.loops import images


def test_classification_with_augmentation_and_dropout():
    def predict(params, x):
        return x * params

    def train(params, x, key):
        return x * params + jax.random.normal(key, x.shape)

    def augment(batch, model, key):
        assert model == (params, ())
        return batch._replace(x=batch.x + jax.random.uniform(key))

    batch = jc.data.Dataset(jnp.asarray(images(4, 3)), jnp.array([0, 1, 2, 0]))
    params, key = jnp.array(2.0), jax.random.key(3)
    plain = jc.objectives.classification(predict)

    def loss(**given):
        return jc.objectives.classification(predict, **given)(params, batch, key)[0]

    def of(logits):
        shifted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -shifted[np.arange(4), batch.y].mean()

    augment_key, train_key = jax.random.split(key)
    moved = batch.x + jax.random.uniform(augment_key)
    noise = jax.random.normal(train_key, batch.x.shape)
    for given, logits in [
        ({}, batch.x * params),
        ({"augment": augment}, moved * params),
        ({"train": train}, batch.x * params + noise),
        ({"augment": augment, "train": train}, moved * params + noise),
    ]:
        np.testing.assert_allclose(loss(**given), of(logits), rtol=1e-5)
    assert plain(params, batch, None)[0] == loss()  # no key needed
    soft = batch._replace(y=jnp.eye(3)[batch.y])  # probabilities of classes
    np.testing.assert_allclose(plain(params, soft, None)[0], loss(), rtol=1e-6)
    with pytest.raises(TypeError, match="augment must be a function, got int"):
        loss(augment=4)
    with pytest.raises(TypeError, match="train must be a function, got bool"):
        loss(train=True)


def test_a_model_with_state_is_classified_by_a_loss_with_state():
    """The loss is stateful where ``predict`` or ``train`` is; the augmentation sees the state."""

    def predict(params, count, x):
        return x * params + count

    def train(params, count, x, key):
        return x * params - count, count + 1

    def augment(batch, model, key):
        return batch._replace(x=batch.x * model.model_state)

    batch = jc.data.Dataset(jnp.asarray(images(4, 3)), jnp.array([0, 1, 2, 0]))
    key = jax.random.key(0)
    loss = jc.objectives.classification(
        jc.stateful(predict), augment=augment, train=jc.stateful(train)
    )
    value, count, metrics = loss(2.0, 3.0, batch, key)
    plain = jc.objectives.classification(lambda params, x: x * params - 3.0)
    expected, _ = plain(2.0, batch._replace(x=3 * batch.x), key)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert count == 4 and set(metrics) == {"accuracy"}
    evaluated = jc.objectives.classification(jc.stateful(predict))(2.0, 3.0, batch, key)
    assert evaluated[1] == 3.0  # without train, nothing changes
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.identity())
    state = algorithm.init(jnp.ones(4), jnp.ones(4))
    each = jax.tree.map(lambda leaf: leaf[:, None], batch)
    state, _ = jc.run(algorithm, state, jc.data.full_batch(each), key, num_rounds=3)
    np.testing.assert_array_equal(state.clients.model_state, 4.0)
