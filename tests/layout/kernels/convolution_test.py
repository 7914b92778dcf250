import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab.layout.kernels import convolution, direct, narrow, planes, products
from jcollab.layout.kernels.direct import LAYOUT
from jcollab.models import Conv

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
    np.testing.assert_allclose(module.apply(params, x), expected, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize(
    "model, shape",
    [(jc.models.CNN(3, (2,), (4,)), (1, 8, 8, 1)), (jc.models.VGG11(3, width=1), (1, 32, 32, 3))],
)
def test_models_use_it(model, shape):
    x = jnp.zeros(shape)
    assert " convolution[" in str(jax.make_jaxpr(model.apply)(model.init(jax.random.key(0), x), x))


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", SAME_AT_BOTH_ENDS, ((0, 2), (3, 0))])
def test_with_the_batch_last_equals_flax_in_value_and_gradient(x64, kernel, padding):
    x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3), jnp.float64)
    ours, theirs = Conv(4, kernel, 1, padding, batch_last=True), nn.Conv(4, kernel, 1, padding)
    params = theirs.init(jax.random.key(1), x)
    turned = x.transpose(3, 1, 2, 0)
    chex.assert_trees_all_equal(params, ours.init(jax.random.key(1), turned))

    def value(module):
        return lambda p, x: jnp.sum(jnp.sin(module.apply(p, x)))

    expected = jax.value_and_grad(value(theirs), (0, 1))(params, x)
    result, (grads, dx) = jax.jit(jax.value_and_grad(value(ours), (0, 1)))(params, turned)
    got = result, (grads, dx.transpose(3, 1, 2, 0))
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels, features", [(2, 16), (9, 1)])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (1, 2)])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 2), (1, 0))])
def test_from_few_channels_to_many_and_back(x64, channels, features, kernel, pads):
    x = jax.random.normal(jax.random.key(0), (2, 9, 8, channels), jnp.float64)
    weights = jax.random.normal(jax.random.key(1), (*kernel, channels, features), jnp.float64)
    assert convolution.forms(x, weights, (1, 1)).forward is narrow

    def plain(x, weights):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, weights, (1, 1), pads, dimension_numbers=layout)

    def value(convolve):
        return lambda x, weights: jnp.sum(jnp.sin(convolve(x, weights)))

    expected = jax.value_and_grad(value(plain), (0, 1))(x, weights)
    ours = value(lambda x, weights: convolution.convolve(x, weights, (1, 1), pads))
    got = jax.jit(jax.value_and_grad(ours, (0, 1)))(x, weights)
    chex.assert_trees_all_close(got, expected, rtol=1e-10, atol=1e-12)


def test_the_batch_comes_last_only_without_strides():
    with pytest.raises(ValueError, match=r"strides must be 1 with batch_last, got \(2, 2\)"):
        Conv(4, (3, 3), 2, batch_last=True).init(jax.random.key(0), jnp.zeros((3, 6, 6, 2)))


def test_lenet_is_the_same_with_either_layout(monkeypatch):
    model = jc.models.LeNet5()
    x = jax.random.normal(jax.random.key(0), (3, 12, 12, 1))
    params = model.init(jax.random.key(1), x)
    loss = lambda p: jnp.sum(model.apply(p, x) ** 2)  # noqa: E731
    expected = jax.value_and_grad(loss)(params)
    monkeypatch.setattr("jcollab.layout.loops", lambda: False)
    got = jax.value_and_grad(loss)(params)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-6)


def plain(x, kernel, strides=(1, 1), pads=SAME_AT_BOTH_ENDS):
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=LAYOUT)


def of_planes(x, kernel, **settings):
    return planes.convolve(x.transpose(3, 1, 2, 0), kernel, **settings).transpose(3, 1, 2, 0)


OPERATIONS = {
    "loop": (functools.partial(convolution.convolve, strides=(2, 1)), (4, 3), {"strides": (2, 1)}),
    "small": (functools.partial(convolution.convolve, strides=(2, 1)), (4, 3), {"strides": (2, 1)}),
    "direct": (functools.partial(convolution.convolve, strides=(1, 1)), (6, 8), {}),
    "few to many": (functools.partial(convolution.convolve, strides=(1, 1)), (1, 8), {}),
    "many to few": (functools.partial(convolution.convolve, strides=(1, 1)), (8, 1), {}),
    "planes": (of_planes, (2, 3), {}),
}


@pytest.mark.parametrize(
    "pads", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 2), (1, 0)), ((-1, 0), (2, -2))]
)
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("form", [direct, products])
def test_every_form_is_the_same_convolution(x64, form, strides, pads):
    x = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 2, 3, 5))
    y, back = jax.vjp(lambda x, k: plain(x, k, strides, pads), x, kernel)
    dy = jax.random.normal(jax.random.key(2), y.shape)
    dx, dk = back(dy)
    chex.assert_trees_all_close(form.forward(x, kernel, strides, pads), y, rtol=1e-10)
    chex.assert_trees_all_close(form.input_gradient(dy, x, kernel, strides, pads), dx, rtol=1e-10)
    chex.assert_trees_all_close(form.kernel_gradient(dy, x, kernel, strides, pads), dk, rtol=1e-10)


@pytest.mark.parametrize("name", OPERATIONS)
def test_all_derivatives_equal_those_of_the_plain_convolution(x64, name):
    operation, channels, settings = OPERATIONS[name]
    keys = jax.random.split(jax.random.key(0), 4)
    size = (3, 2) if name == "small" else (7, 6)
    shapes = [(2, *size, channels[0]), (3, 3, *channels)] * 2
    x, k, dx, dk = (jax.random.normal(key, s) for key, s in zip(keys, shapes, strict=True))

    def value(function, **settings):
        return lambda x, k: jnp.sum(jnp.sin(function(x, k, **settings)))

    ours, theirs = value(operation, pads=SAME_AT_BOTH_ENDS), value(plain, **settings)
    for derivative in (
        lambda f: jax.jvp(f, (x, k), (dx, dk)),
        lambda f: jax.grad(f, (0, 1))(x, k),
        lambda f: jax.jvp(jax.grad(f, (0, 1)), (x, k), (dx, dk)),  # Hessian-vector products
        lambda f: jax.grad(lambda *at: sum(map(jnp.sum, jax.grad(f, (0, 1))(*at))), (0, 1))(x, k),
        lambda f: jax.vmap(jax.grad(f, (0, 1)), (0, None))(x[:, None], k),
    ):
        got, expected = jax.jit(lambda: derivative(ours))(), derivative(theirs)  # noqa: B023
        chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-11)


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
