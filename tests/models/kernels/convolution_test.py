import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab.models import Conv, max_pool
from jcollab.models.kernels import convolution, narrow, planes
from jcollab.models.kernels.convolution import LAYOUT

SAME_AT_BOTH_ENDS = ((1, 1), (1, 1))


@pytest.mark.parametrize("size", [(9, 8), (3, 5), (2, 2)])
@pytest.mark.parametrize("stride", [1, 2, (2, 1), 3])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", SAME_AT_BOTH_ENDS, ((0, 2), (3, 0))])
def test_equals_flax_in_value_and_gradient(x64, size, stride, kernel, padding):
    around = {"SAME": 9, "VALID": 0, SAME_AT_BOTH_ENDS: 2}.get(padding, 2)
    if any(side + around < k for side, k in zip(size, kernel, strict=True)):
        pytest.skip("the filter is larger than the image")
    x = jax.random.normal(jax.random.key(0), (2, *size, 3), jnp.float64)
    ours = Conv(4, kernel, stride, padding)
    theirs = nn.Conv(4, kernel, stride, padding)
    params = theirs.init(jax.random.key(1), x)
    same = ours.init(jax.random.key(1), x)
    chex.assert_trees_all_equal(params, same)

    def value(module):
        return lambda p, x: jnp.sum(jnp.sin(module.apply(p, x)))

    expected = jax.value_and_grad(value(theirs), (0, 1))(params, x)
    got = jax.jit(jax.value_and_grad(value(ours), (0, 1)))(params, x)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)


def test_where_clients_are_vectorized_it_is_a_plain_convolution(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    module = Conv(4, (3, 3), use_bias=False)
    params = module.init(jax.random.key(1), x)
    expected = module.apply(params, x)
    monkeypatch.setattr("jcollab.layout.loops", lambda: False)
    assert " convolution[" not in str(jax.make_jaxpr(module.apply)(params, x))
    np.testing.assert_allclose(module.apply(params, x), expected, rtol=1e-6)


def test_without_bias_in_half_precision_and_over_clients():
    x = jax.random.normal(jax.random.key(0), (3, 2, 6, 6, 3))
    module = Conv(4, (3, 3), use_bias=False, dtype=jnp.bfloat16)
    params = module.init(jax.random.key(1), x[0])
    assert set(params["params"]) == {"kernel"}
    assert module.apply(params, x[0]).dtype == jnp.bfloat16
    plain = Conv(4, (3, 3))
    every = jax.vmap(lambda key: plain.init(key, x[0]))(jax.random.split(jax.random.key(2), 3))

    def gradient(module, params, x):
        return jax.grad(lambda p: jnp.sum(module.apply(p, x) ** 2))(params)

    got = jax.vmap(lambda p, x: gradient(plain, p, x))(every, x)
    expected = [
        gradient(nn.Conv(4, (3, 3)), jax.tree.map(lambda leaf: leaf[i], every), x[i])  # noqa: B023
        for i in range(3)
    ]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *expected)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_max_pool_equals_flax(size):
    x = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))
    expected = nn.max_pool(x, (size, size), (size, size))
    np.testing.assert_array_equal(max_pool(x, size), expected)
    got = jax.grad(lambda x: jnp.sum(max_pool(x, size) ** 2))(x)
    grad = jax.grad(lambda x: jnp.sum(nn.max_pool(x, (size, size), (size, size)) ** 2))(x)
    np.testing.assert_allclose(got, grad, rtol=1e-6)


def test_a_model_has_forward_derivatives():
    """One of them; tests/models/derivatives_test.py has all."""
    model, shape = jc.models.CNN(3, (2,), (4,)), (2, 8, 8, 1)
    x = jax.random.normal(jax.random.key(0), shape)
    params = model.init(jax.random.key(1), x)

    def f(p):
        return jnp.sum(model.apply(p, x) ** 2)

    value, slope = jax.jvp(f, (params,), (params,))
    backward = jax.tree.reduce(
        jnp.add, jax.tree.map(lambda g, p: jnp.sum(g * p), jax.grad(f)(params), params)
    )
    np.testing.assert_allclose(slope, backward, rtol=1e-3)
    assert value > 0
