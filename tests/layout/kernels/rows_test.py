"""Operations on an array and a row, against those of JAX."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.layout import fast_layers
from jcollab.layout.kernels.rows import combine
from tests.derivatives import check_derivatives

OPERATIONS = {"add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": jnp.divide}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shapes", [((5, 3), (1, 3)), ((1, 1, 4), (2, 3, 4)), ((2, 2), (2, 2))])
def test_values_and_derivatives(x64, name, shapes):
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(1, 2, size=shape) for shape in shapes)
    operation = OPERATIONS[name]
    np.testing.assert_allclose(combine(operation, x, y), operation(x, y), rtol=1e-15)
    check_derivatives(lambda x, y: combine(operation, x, y), x, y)


@pytest.mark.parametrize("name", OPERATIONS)
def test_either_side_of_an_operation_is_a_row(name):
    """The gradient of a row is a product; whole arrays, numbers and columns stay as written."""
    x, row, operation = jnp.ones((4, 3)), jnp.ones((1, 3)), OPERATIONS[name]

    def count(*args):
        return str(jax.make_jaxpr(fast_layers(operation))(*args)).count(" broadcast_row")

    assert count(x, row) == count(row, x) == 1
    assert count(x, x) == count(x, 2.0) == count(x, jnp.ones((4, 1))) == count(row, row) == 0
    assert name == "div" or count(x.astype(int), row.astype(int)) == 0


def test_statistics_of_a_batch():
    layer = nn.BatchNorm(use_running_average=False)
    x = jax.random.normal(jax.random.key(0), (8, 5, 5, 3)) * 2 + 1
    variables = layer.init(jax.random.key(1), x)

    def loss(params, x):
        y, _ = layer.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y) * x)

    args = (variables["params"], x)
    text = str(jax.make_jaxpr(fast_layers(loss))(*args))
    assert text.count(" broadcast_row") == 3  # the mean, the scale and the bias
    expected = jax.value_and_grad(loss, (0, 1))(*args)
    got = jax.jit(jax.value_and_grad(fast_layers(loss), (0, 1)))(*args)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


def test_a_bias_without_jit():
    x, bias = jnp.ones((4, 3)), jnp.ones((1, 3))
    with jax.disable_jit():
        assert fast_layers(jnp.add)(x, bias).tolist() == (x + bias).tolist()
