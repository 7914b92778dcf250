import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import InvalidRngError

import jcollab as jc
from jcollab.models import VGG11, ResNet20
from jcollab.models.resnet import BasicBlock, EvoNorm

KEY = jax.random.key(0)


def shapes(model, *shape):
    return jax.eval_shape(model.init, KEY, jnp.zeros(shape))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def random_params(model, *shape, seed=0):
    """No parameter is 0 or 1, so that each of them matters."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0.3, 0.3, leaf.shape), leaf.dtype),
        shapes(model, *shape),
    )


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(0.2, 1, shape).astype(np.float32)


# ---- the networks in NumPy, from the papers


def conv(x, layer, stride=1):
    kernel = np.asarray(layer["kernel"], float)
    reach = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], (1, 2))
    out = np.einsum("bhwcij,ijco->bhwo", windows[:, ::stride, ::stride], kernel)
    return out + np.asarray(layer.get("bias", 0), float)


def dense(x, layer):
    return x @ np.asarray(layer["kernel"], float) + np.asarray(layer["bias"], float)


def relu(x):
    return np.maximum(x, 0)


def over_groups(x, groups, statistic):
    out = np.empty_like(x)
    size = x.shape[-1] // groups
    for b in range(len(x)):
        for g in range(groups):
            part = np.s_[b, :, :, g * size : (g + 1) * size]
            out[part] = statistic(x[part])
    return out


def group_norm(x, layer, groups):
    mean, var = over_groups(x, groups, np.mean), over_groups(x, groups, np.var)
    return (x - mean) / np.sqrt(var + 1e-5) * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def evonorm(x, layer, groups):
    gate = x / (1 + np.exp(-np.asarray(layer["v"]) * x))
    scaled = gate / np.sqrt(over_groups(x, groups, np.var) + 1e-5)
    return scaled * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def affine(x, layer):
    return x * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def vgg11(params, x):
    for i, pooled in enumerate([True, True, False, True, False, True, False, True]):
        x = relu(conv(x, params[f"Conv_{i}"]))
        if pooled:
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


# ---- tests


def test_vgg11_has_the_layers_of_the_paper():
    params = shapes(VGG11(), 1, 32, 32, 3)["params"]
    channels = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    pairs = list(itertools.pairwise(channels))
    for i, (incoming, outgoing) in enumerate(pairs):
        assert params[f"Conv_{i}"]["kernel"].shape == (3, 3, incoming, outgoing)
    convolutions = sum(9 * a * b + b for a, b in pairs)
    linear = 2 * (512 * 512 + 512) + 512 * 10 + 10
    assert count(params) == convolutions + linear == 9_750_922
    # the traffic the paper logged for all-reduce: one model a step, 97 steps of 198 epochs, in MiB
    assert count(params) * 4 * 97 * 198 / 2**20 == pytest.approx(7.144e5, rel=1e-4)


@pytest.mark.parametrize("norm", ["group", "evonorm"])
def test_resnet20_has_the_layers_of_the_paper(norm):
    convolutions, outputs = 9 * 3 * 16, [16]
    for incoming, channels in [(16, 16), (16, 32), (32, 64)]:
        convolutions += 9 * incoming * channels + 9 * 5 * channels**2
        outputs += 6 * [channels]
        if incoming != channels:  # projection
            convolutions += incoming * channels
            outputs += [channels]
    norms = 2 * sum(outputs)
    if norm == "evonorm":  # v, where an activation follows: the first layer and once per block
        norms += 16 + 3 * (16 + 32 + 64)
    expected = convolutions + norms + 64 * 10 + 10
    assert count(shapes(ResNet20(norm=norm), 1, 32, 32, 3)) == expected
    assert expected == {"group": 272_474, "evonorm": 272_826}[norm]


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


def test_evonorm_and_group_norm_against_numpy():
    x = images(2, 3, 5, 6)
    layer, block = EvoNorm(groups=3), BasicBlock(6, groups=3)
    params = random_params(layer, *x.shape)
    expected = evonorm(x.astype(float), params["params"], 3)
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-5, atol=1e-6)
    # groups and images are apart: a change in one leaves the others as they were
    changed = layer.apply(params, np.concatenate([x[:1], 3 * x[1:]]))
    np.testing.assert_array_equal(changed[0], layer.apply(params, x)[0])
    # a block whose convolutions are the identity shows the GroupNorm
    params = random_params(block, *x.shape)["params"]
    identity = np.zeros((3, 3, 6, 6), np.float32)
    identity[1, 1] = np.eye(6)
    for name in ("Conv_0", "Conv_1"):
        params[name] = {"kernel": jnp.asarray(identity)}
    inner = relu(group_norm(x.astype(float), params["GroupNorm_0"], 3))
    expected = relu(x + group_norm(inner, params["GroupNorm_1"], 3))
    np.testing.assert_allclose(block.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-5)


def test_evonorm_keeps_the_type_and_averages_in_float32():
    x = jnp.asarray(100 + images(1, 16, 16, 4), jnp.bfloat16)
    layer = EvoNorm(groups=1, nonlinear=True)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), layer.init(jax.random.key(0), x))
    out = layer.apply(params, x)
    wide = np.asarray(x, float)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(out, float), wide / wide.std(), rtol=0.02)


def initial(model, *shape):
    # drawn by the hardware's generator, which compiles in a fraction of the time
    return jax.jit(model.init)(jax.random.key(0, impl="rbg"), jnp.zeros(shape))["params"]


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


def test_initial_blocks():
    params = initial(BasicBlock(16, 2, "evonorm", groups=4), 1, 4, 4, 8)
    for i, size in enumerate([3, 3, 1]):
        (kernel,) = params[f"Conv_{i}"].values()  # no bias
        assert kernel.shape[:2] == (size, size)
        assert abs(kernel.var() * size**2 * 16 / 2 - 1) < 6 * (2 / kernel.size) ** 0.5
    # after the first convolution, at the end of the branch, in the projection
    assert set(params["EvoNorm_0"]) == {"v", "scale", "bias"}
    assert set(params["EvoNorm_1"]) == set(params["EvoNorm_2"]) == {"scale", "bias"}


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
    with pytest.raises(ValueError, match="norm must be one of .*'group', 'evonorm'.* got 'batch'"):
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


def test_the_network_of_the_alignment_paper_has_its_parameters():
    """Two 5 x 5 convolutions without padding and one dense layer, 47 classes: 100,271 in all."""
    model = jc.models.CNN(47, hidden=(), padding="VALID")
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 100_271


def test_an_mlp_takes_its_activation():
    x = jnp.array([[0.3, -2.0]])
    model = jc.models.MLP(2, (3,), jnp.tanh)
    params = model.init(jax.random.key(0), x)
    first, last = params["params"]["Dense_0"], params["params"]["Dense_1"]
    hidden = jnp.tanh(x @ first["kernel"] + first["bias"])
    expected = hidden @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=1e-6)


def test_lenet5_in_two_parts():
    model = jc.models.LeNet5()
    x = jax.random.normal(jax.random.key(0), (2, 28, 28, 1))
    params = model.init(jax.random.key(0), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 30_986
    features, head = jc.models.two_parts(model)
    inner = features(params, x)
    assert inner.shape == (2, 84) and (abs(inner) < 1).all()
    np.testing.assert_allclose(head(params, inner), model.apply(params, x), atol=1e-6)
    with pytest.raises(TypeError, match="model must have a method features, MLP has none"):
        jc.models.two_parts(jc.models.MLP(3))
