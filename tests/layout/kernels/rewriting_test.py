"""Networks of strangers get the fast convolutions, and compute what they computed."""

import chex
import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.layout import as_written, fast_layers
from jcollab.layout.kernels import rewriting

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (2, 12, 12, 3))


class Flax(nn.Module):
    """Every layer that is replaced, with strides, paddings and a transposed convolution."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(6, (3, 3))(x)), (2, 2), (2, 2))
        x = nn.avg_pool(nn.gelu(nn.Conv(8, (3, 3), (2, 1), padding="VALID")(x)), (1, 2), (1, 2))
        x = nn.tanh(nn.ConvTranspose(4, (3, 3), (2, 2))(x))
        x = nn.relu(nn.Conv(4, (1, 1), use_bias=False)(x))
        return nn.Dense(3)(x.reshape(len(x), -1))


class Around(nn.Module):
    """Convolutions inside of checkpoint, scan and cond."""

    @nn.compact
    def __call__(self, x):
        x = nn.remat(nn.Conv)(4, (3, 3))(x)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, 4, 4))

        def apply(x):
            numbers = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)
            return jnp.tanh(y)

        x, _ = jax.lax.scan(lambda x, _: (apply(x), None), x, length=2)
        return jax.lax.cond(x.sum() < 1e9, apply, lambda x: x, x)


class Sentences(nn.Module):
    """One dimension."""

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(5, (3,), (2,))(x))


def equinox_network():
    keys = jax.random.split(KEY, 2)
    layers = [eqx.nn.Conv2d(3, 5, 3, key=keys[0]), eqx.nn.Lambda(jax.nn.relu)]
    layers += [eqx.nn.MaxPool2d(2, 2), eqx.nn.Conv2d(5, 2, 3, 2, 1, key=keys[1])]
    params, static = eqx.partition(eqx.nn.Sequential(layers), eqx.is_array)

    def apply(params, x):  # channels first, one image at a time
        return jax.vmap(eqx.combine(params, static))(x.transpose(0, 3, 1, 2))

    return params, apply


def network(name):
    """Parameters, the function and inputs."""
    if name == "equinox":
        return *equinox_network(), IMAGES
    module = {"flax": Flax, "around": Around, "sentences": Sentences}[name]()
    x = IMAGES[0] if name == "sentences" else IMAGES
    return module.init(KEY, x), module.apply, x


def calls(fn, *args):
    text = str(jax.make_jaxpr(fn)(*args))
    return text.count("conv_general_dilated"), text.count(" convolution[")


@pytest.mark.parametrize("name", ["flax", "around", "sentences", "equinox"])
def test_values_and_gradients_stay(name):
    params, apply, x = network(name)

    def value(params, x):
        return jnp.sum(jnp.sin(apply(params, x))), {"mean": x.mean()}

    fast = fast_layers(value)
    before, after = calls(value, params, x), calls(fast, params, x)
    assert before[0] > 0 and after == (0, before[0])
    expected = jax.value_and_grad(value, (0, 1), has_aux=True)(params, x)
    got = jax.jit(jax.value_and_grad(fast, (0, 1), has_aux=True))(params, x)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "build",
    [
        lambda loss: jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce()),
        lambda loss: jc.centralized(loss, optax.sgd(0.1)),
        lambda loss: jc.federated(loss, optax.sgd(0.1)),
        lambda loss: jc.algorithms.gradient_tracking(loss, optax.sgd(0.1), jc.all_reduce()),
    ],
)
def test_builders_rewrite_the_loss(build, monkeypatch):
    model, replaced = Flax(), []
    plain = rewriting.FORMS["conv_general_dilated"]

    def counted(*avals, **params):
        replaced.append(avals)
        return plain(*avals, **params)

    monkeypatch.setitem(rewriting.FORMS, "conv_general_dilated", counted)
    loss = jc.objectives.classification(model.apply)
    params = jc.replicate(model.init(KEY, IMAGES), 2)
    data = jc.data.Dataset(jnp.stack([IMAGES] * 2), jnp.zeros((2, 2), int))
    results = []
    for own in (as_written(loss), loss):
        assert not replaced
        algorithm = build(own)
        state, _ = jc.run(
            algorithm, algorithm.init(params), jc.data.full_batch(data), KEY, num_rounds=2
        )
        results.append(jc.params_of(state))
    assert replaced
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-5)


def test_forward_derivatives_and_custom_ones_are_kept():
    @jax.custom_vjp
    def odd(x):
        return x

    odd.defvjp(lambda x: (x, None), lambda _, g: (7 * g,))
    kernel = jax.random.normal(KEY, (3, 3, 3, 2))

    def value(kernel):
        y = jax.lax.conv_general_dilated(
            odd(IMAGES), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(jax.nn.relu(odd(y)))

    fast = fast_layers(value)
    chex.assert_trees_all_close(jax.grad(fast)(kernel), jax.grad(value)(kernel), rtol=1e-4)

    def smooth(kernel):
        return jnp.sum(jnp.sin(jax.lax.conv(IMAGES, kernel, (1, 1), "VALID")))

    kernel = jax.random.normal(KEY, (2, 12, 3, 2))
    got = jax.jvp(fast_layers(smooth), (kernel,), (kernel,))
    chex.assert_trees_all_close(got, jax.jvp(smooth, (kernel,), (kernel,)), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"feature_group_count": 3}, {"rhs_dilation": (2, 2)}, {"preferred_element_type": jnp.float32}],
)
def test_what_has_no_fast_form_is_left_alone(options):
    dtype = jnp.bfloat16 if "preferred_element_type" in options else jnp.float32
    inputs = 1 if "feature_group_count" in options else 3

    def convolve(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        x, kernel = x.astype(dtype), kernel.astype(dtype)
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, **options
        )

    kernel = jax.random.normal(KEY, (3, 3, inputs, 3))
    assert calls(fast_layers(convolve), IMAGES, kernel) == (1, 0)
    np.testing.assert_array_equal(fast_layers(convolve)(IMAGES, kernel), convolve(IMAGES, kernel))


def test_accelerators_call_the_function_itself(monkeypatch):
    monkeypatch.setattr(rewriting.layout, "loops", lambda: False)
    network = lambda x: jax.lax.conv(x, x[:2], (1, 1), "VALID")  # noqa: E731
    assert calls(fast_layers(network), IMAGES) == (1, 0)


def test_not_a_function():
    for mark in (fast_layers, as_written):
        with pytest.raises(TypeError, match="fn must be"):
            mark(3)
