"""Products of matrices and their gradients, against those of JAX."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.layout import fast_layers
from jcollab.layout.kernels.matmul import multiply
from tests.derivatives import check_derivatives

# rows, depth, columns: in each, other factors are transposed
SHAPES = [((3,), 5, 7), ((40,), 3, 4), ((2, 30), 9, 2), ((1,), 1, 6), ((4, 0), 2, 3)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("lead, depth, columns", SHAPES)
def test_values_and_gradients(x64, lead, depth, columns, transposed):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*lead, depth))
    y = rng.normal(size=(columns, depth) if transposed else (depth, columns))
    dz = rng.normal(size=(*lead, columns))
    z, pull = jax.vjp(lambda x, y: multiply(x, y, transposed), jnp.asarray(x), jnp.asarray(y))
    dx, dy = pull(jnp.asarray(dz))
    matrix = y.T if transposed else y
    rows, drows = x.reshape(-1, depth), dz.reshape(-1, columns)
    np.testing.assert_allclose(z, x @ matrix, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, dz @ matrix.T, rtol=1e-12, atol=1e-12)
    expected = rows.T @ drows
    np.testing.assert_allclose(dy, expected.T if transposed else expected, rtol=1e-12, atol=1e-12)


def test_derivatives_of_higher_order(x64):
    rng = np.random.default_rng(0)
    for transposed in (False, True):
        shape = (4, 3) if transposed else (3, 4)
        check_derivatives(
            lambda x, y, how=transposed: multiply(x, y, how),
            rng.normal(size=(5, 3)),
            rng.normal(size=shape),
        )


def _layers(params, x):
    """A dense layer with a bias, one whose matrix is transposed, and products left as they are."""
    x = jnp.tanh(x @ params["in"] + params["bias"][None])
    x = jax.lax.dot_general(params["out"], x, (((1,), (1,)), ((), ()))).T + x.sum(1, keepdims=True)
    heads = jnp.einsum("bhd,bhe->bde", x.reshape(len(x), 2, -1), x.reshape(len(x), 2, -1))
    return heads @ jnp.ones(heads.shape[-1])


def test_layers_of_a_network():
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"in": (6, 8), "bias": (8,), "out": (4, 8)}
    params = {n: jax.random.normal(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=False)}
    x = jax.random.normal(keys[3], (5, 6))

    def value(params, x):
        return jnp.sum(jnp.sin(_layers(params, x)))

    text = str(jax.make_jaxpr(fast_layers(value))(params, x))
    assert text.count(" matmul[") == 2 and text.count(" broadcast_row") == 1
    assert text.count("dot_general[") == 2  # a product with a batch axis, and one with a vector
    expected = jax.value_and_grad(value, (0, 1))(params, x)
    got = jax.jit(jax.value_and_grad(fast_layers(value), (0, 1)))(params, x)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_arrays_are_left_alone(shape):
    """Layers without features or examples compute what they compute as written."""
    x = jnp.ones(shape)
    fast = fast_layers(lambda x: (x @ x.T, x + jnp.ones((1, shape[1]))))
    product, total = fast(x)
    assert product.shape == (shape[0],) * 2 and total.shape == shape
    assert not product.any()
