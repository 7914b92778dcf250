import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import InvalidRngError

from jcollab.models import VGG11, ResNet20
from jcollab.models.resnet import EvoNorm
from tests.models.loops import (
    KEY,
    evonorm,
    group_norm,
    images,
    initial,
    random_params,
    relu,
    shapes,
)


def conv(x, layer, stride=1):
    kernel = np.asarray(layer["kernel"], float)
    reach = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], (1, 2))
    out = np.einsum("bhwcij,ijco->bhwo", windows[:, ::stride, ::stride], kernel)
    return out + np.asarray(layer.get("bias", 0), float)


def dense(x, layer):
    return x @ np.asarray(layer["kernel"], float) + np.asarray(layer["bias"], float)


def affine(x, layer):
    return x * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def vgg11(params, x):
    for i, has_pooling in enumerate([True, True, False, True, False, True, False, True]):
        x = relu(conv(x, params[f"Conv_{i}"]))
        if has_pooling:
            b, h, w, c = x.shape
            x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
    x = x.reshape(len(x), -1)
    for i in range(2):
        x = relu(dense(x, params[f"Dense_{i}"]))
    return dense(x, params["Dense_2"])


def resnet20(params, x, norm, groups):
    def norm_act(x, layers, i):
        if norm == "group":
            return relu(group_norm(x, layers[f"GroupNorm_{i}"], groups))
        return evonorm(x, layers[f"EvoNorm_{i}"], groups)

    def only_norm(x, layers, i):
        if norm == "group":
            return group_norm(x, layers[f"GroupNorm_{i}"], groups)
        return affine(x, layers[f"EvoNorm_{i}"])

    x = norm_act(conv(x, params["Conv_0"]), params, 0)
    for i in range(9):
        block, stride = params[f"BasicBlock_{i}"], 2 if i in (3, 6) else 1
        y = norm_act(conv(x, block["Conv_0"], stride), block, 0)
        y = only_norm(conv(y, block["Conv_1"]), block, 1)
        if i in (3, 6):
            x = only_norm(conv(x, block["Conv_2"], stride), block, 2)
        x = relu(x + y)
    return dense(x.mean((1, 2)), params["Dense_0"])


MODELS = [
    (VGG11(3, width=1), vgg11, (32, 32, 3)),
    (ResNet20(3, width=4, groups=2), lambda p, x: resnet20(p, x, "group", 2), (8, 8, 3)),
    (ResNet20(3, "evonorm", 4, 2), lambda p, x: resnet20(p, x, "evonorm", 2), (8, 8, 3)),
]


@pytest.mark.parametrize("model, reference, shape", MODELS, ids=["vgg", "group", "evonorm"])
def test_networks_alone_and_stacked_against_numpy(model, reference, shape):
    each = [random_params(model, 2, *shape, seed=i) for i in range(3)]
    x = images(3, 2, *shape)
    expected = [
        reference(params["params"], client.astype(float))
        for params, client in zip(each, x, strict=True)
    ]
    apply = jax.jit(model.apply)
    loop = [apply(params, client) for params, client in zip(each, x, strict=True)]
    np.testing.assert_allclose(loop, expected, rtol=1e-4, atol=1e-4)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    together = jax.jit(jax.vmap(model.apply))(stacked, x)
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-4)


def test_initial_weights():
    drawn = []
    for name, layer in initial(VGG11(num_classes=50, width=8), 1, 32, 32, 3).items():
        kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
        if name.startswith("Conv"):
            variance = 2 / (9 * kernel.shape[-1])
            assert (bias == 0).all()
            drawn.append(kernel.ravel() / variance**0.5)
        else:
            bound = len(kernel) ** -0.5
            variance = bound**2 / 3
            for array in (kernel, bias):
                assert 0.8 * bound < abs(array).max() <= bound
            assert (bias < 0).any() and (bias > 0).any()
        assert abs(kernel.var() / variance - 1) < 6 * (2 / kernel.size) ** 0.5
    # flax's truncated normal ends at 2.27 standard deviations
    assert np.mean(abs(np.concatenate(drawn)) > 2.4) == pytest.approx(0.0164, rel=0.1)


def test_dropout_is_in_training_only():
    model, x = VGG11(width=2, num_classes=4), images(2, 32, 32, 3)
    params = random_params(model, *x.shape)

    @jax.jit
    def train(key):
        return model.apply(params, x, train=True, rngs={"dropout": key})

    first, again, other = (train(jax.random.key(seed)) for seed in (0, 0, 1))
    quiet = model.apply(params, x)
    np.testing.assert_array_equal(quiet, model.apply(params, x, train=False))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, quiet) and not np.allclose(first, other)
    without = VGG11(4, 2, dropout_rate=0.0)
    np.testing.assert_array_equal(without.apply(params, x, train=True), quiet)
    with pytest.raises(InvalidRngError, match="dropout"):
        model.apply(params, x, train=True)


def test_dropout_stands_before_the_first_two_dense_layers():
    model, x = VGG11(4, width=16, dropout_rate=0.25), images(4, 32, 32, 3)
    params = jax.tree.map(jnp.abs, random_params(model, *x.shape))  # no ReLU gives 0
    _, seen = model.apply(
        params,
        abs(x),
        train=True,
        rngs={"dropout": KEY},
        capture_intermediates=lambda module, _: isinstance(module, (nn.Dropout, nn.Dense)),
    )
    seen = seen["intermediates"]
    first, second = (np.asarray(out) for out in seen["Dropout_0"]["__call__"])
    dense_0 = np.asarray(seen["Dense_0"]["__call__"][0])
    np.testing.assert_allclose(dense_0, dense(first, params["params"]["Dense_0"]), rtol=1e-4)
    kept = second != 0
    np.testing.assert_allclose(second[kept], dense_0[kept] / 0.75, rtol=1e-5)
    for out in (first, second):
        assert abs(np.mean(out == 0) - 0.25) < 5 * (0.25 * 0.75 / out.size) ** 0.5
    assert ((first == 0) != (second == 0)).any()


def test_wrong_models_are_named():
    with pytest.raises(ValueError, match="norm must be one of group, evonorm, got 'batch'"):
        ResNet20(norm="batch")
    with pytest.raises(ValueError, match="groups must divide the channels, got groups=8 for 12"):
        ResNet20(width=12)
    with pytest.raises(ValueError, match="groups must divide the channels, got groups=0 for 16"):
        ResNet20(groups=0)
    with pytest.raises(ValueError, match="groups must divide the channels, got groups=4 for 6"):
        shapes(EvoNorm(4), 1, 2, 2, 6)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ResNet20(0)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        VGG11(width=0)
    with pytest.raises(ValueError, match=r"dropout_rate must be in \[0, 1\), got 1"):
        VGG11(dropout_rate=1)
    with pytest.raises(ValueError, match="x must be images .* got shape .1, 28, 28, 1."):
        shapes(VGG11(), 1, 28, 28, 1)
    with pytest.raises(ValueError, match="x must be images of at least 16 x 16.* .1, 8, 8, 3."):
        shapes(VGG11(poolings=4), 1, 8, 8, 3)
    with pytest.raises(ValueError, match="poolings must be in 1..5, got 6"):
        VGG11(poolings=6)
