import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from tests.models.loops import images


def test_classification_with_augmentation_and_dropout():
    def predict(params, x):
        return x * params

    def train(params, x, key):
        return x * params + jax.random.normal(key, x.shape)

    def augment(x, key):
        return x + jax.random.uniform(key)

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
    with pytest.raises(TypeError, match="augment must be a function or None, got int"):
        loss(augment=4)
    with pytest.raises(TypeError, match="train must be a function or None, got bool"):
        loss(train=True)
