"""Recurrent networks compute the same values and derivatives with products of all steps at once."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.layout import as_written, fast_layers
from tests.derivatives import check_derivatives

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (3, 7, 4))  # sentences, steps, features


def _network(cell, **settings):
    module = nn.RNN(cell(5), **settings)
    return module.init(KEY, X), module.apply


CELLS = {
    "GRU": (nn.GRUCell, {}),
    "LSTM": (nn.OptimizedLSTMCell, {"reverse": True}),
    "simple": (nn.SimpleCell, {"unroll": 2}),
}


def _products(jaxpr):
    """Returns the numbers of products outside and inside of loops, without gradients of biases."""
    counts = [0, 0]

    def count(jaxpr, inside):
        for eqn in jaxpr.eqns:
            product = eqn.primitive.name in ("dot_general", "matmul")
            counts[inside] += product and 1 not in eqn.invars[0].aval.shape
            for inner in jax.extend.core.jaxprs_in_params(eqn.params):
                count(inner, inside or eqn.primitive.name == "scan")

    count(jaxpr.jaxpr, False)
    return counts


@pytest.mark.parametrize("name", CELLS)
def test_values_and_gradients_stay(name):
    cell, settings = CELLS[name]
    params, apply = _network(cell, **settings)

    def value(params, x):
        return jnp.sum(jnp.sin(apply(params, x)))

    expected = jax.value_and_grad(value, (0, 1))(params, X)
    got = jax.jit(jax.value_and_grad(fast_layers(value), (0, 1)))(params, X)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)
    # each client has its own parameters
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    expected = jax.vmap(jax.grad(value), (0, None))(both, X)
    got = jax.vmap(jax.grad(fast_layers(value)), (0, None))(both, X)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


def _tanh_network(params, start, x):
    """A matrix on the left, one that is also used outside of products, and an integer carry."""

    def step(carry, x):
        h, t = carry
        left = jax.lax.dot_general(params["left"], h, (((1,), (1,)), ((), ()))).T
        h = jnp.tanh(left + x @ params["in"] + params["left"].sum() / (1 + t))
        return (h, t + 1), (h, t)

    (h, _), (hs, ts) = jax.lax.scan(step, (start, 0), x)
    return h, hs, ts.astype(h.dtype) * h.sum()


def test_derivatives_of_any_order(x64):
    rng = np.random.default_rng(0)
    params = {"left": rng.normal(size=(4, 4)), "in": rng.normal(size=(3, 4))}
    start, x = rng.normal(size=(2, 4)), rng.normal(size=(5, 2, 3))
    fast = fast_layers(_tanh_network)
    for got, expected in zip(fast(params, start, x), _tanh_network(params, start, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    check_derivatives(fast, params, start, x)


def test_products_with_shared_matrices_leave_the_loop():
    params, apply = _network(nn.GRUCell)

    def value(params):
        return jnp.sum(apply(params, X))

    # each of the three products with the inputs has one gradient, since these are constant; each of
    # the three with the state has two
    plain = _products(jax.make_jaxpr(jax.grad(value))(params))
    assert plain == [0, 3 * 2 + 3 * 3]
    # only the products with the state and its gradient stay in the loops
    assert _products(jax.make_jaxpr(jax.grad(fast_layers(value)))(params)) == [3 * 2 + 3, 3 * 2]
    marked = fast_layers(as_written(value))
    assert _products(jax.make_jaxpr(jax.grad(marked))(params)) == plain


def test_a_loop_that_saves_memory_is_left_alone():
    """Its carry is a sum, so a product of all parts at once would undo the split into parts."""

    def value(w, x):
        total, _ = jax.lax.scan(lambda s, x: (s + jnp.tanh(x @ w).sum(), None), 0.0, x)
        return total

    w, x = jnp.ones((4, 6)), jnp.ones((5, 3, 4))
    assert _products(jax.make_jaxpr(fast_layers(value))(w, x)) == [0, 1]
