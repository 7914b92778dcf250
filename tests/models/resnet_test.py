import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.models import ResNet20
from jcollab.models.resnet import BasicBlock, EvoNorm
from tests.models.loops import (
    count,
    evonorm,
    group_norm,
    images,
    initial,
    random_params,
    relu,
    shapes,
)


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


def test_initial_blocks():
    params = initial(BasicBlock(16, 2, "evonorm", groups=4), 1, 4, 4, 8)
    for i, size in enumerate([3, 3, 1]):
        (kernel,) = params[f"Conv_{i}"].values()  # no bias
        assert kernel.shape[:2] == (size, size)
        assert abs(kernel.var() * size**2 * 16 / 2 - 1) < 6 * (2 / kernel.size) ** 0.5
    # after the first convolution, at the end of the branch, in the projection
    assert set(params["EvoNorm_0"]) == {"v", "scale", "bias"}
    assert set(params["EvoNorm_1"]) == set(params["EvoNorm_2"]) == {"scale", "bias"}
