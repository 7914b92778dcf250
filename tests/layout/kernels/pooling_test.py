import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc


@pytest.mark.parametrize("size", [1, 2, 3])
def test_max_pool_equals_flax(size):
    x = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))
    expected = nn.max_pool(x, (size, size), (size, size))
    np.testing.assert_array_equal(jc.models.max_pool(x, size), expected)
    weights = jax.random.normal(jax.random.key(1), expected.shape)
    got = jax.grad(lambda x: jnp.sum(weights * jc.models.max_pool(x, size)))(x)
    grad = jax.grad(lambda x: jnp.sum(weights * nn.max_pool(x, (size, size), (size, size))))(x)
    np.testing.assert_array_equal(got, grad)


def test_of_equal_inputs_the_first_gets_the_gradient_as_in_flax():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 8, 8, 2)), jnp.float32)
    got = jax.grad(lambda x: jnp.sum(jc.models.max_pool(x) ** 2))(x)
    expected = jax.grad(lambda x: jnp.sum(nn.max_pool(x, (2, 2), (2, 2)) ** 2))(x)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_nan_is_the_maximum(place):
    x = np.zeros((1, 2, 2, 1), np.float32)
    x[0, place // 2, place % 2] = np.nan
    assert np.isnan(jc.models.max_pool(jnp.asarray(x))).all()


def test_size_is_checked():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        jc.models.max_pool(jnp.zeros((1, 2, 2, 1)), 0)
