"""Every model has forward-mode derivatives and Hessian-vector products on a CPU."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import jcollab as jc
from jcollab import models
from tests.derivatives import check_derivatives

KEY = jax.random.key(0)
IDS = np.array([[3, 4, 5, 0], [4, 6, 3, 5]])
BERT = models.BertConfig(7, 4, 1, 2, 6, 8)
# the module, and its inputs: pieces, or the shape of images
QUICK = {
    "MLP": (models.MLP(3, (5,)), (2, 4)),
    "BagEncoder": (models.BagEncoder(7, 3, buckets=5), IDS),
}
SLOW = {
    "FeatureMLP": (models.FeatureMLP(3, 4, (5,)), (2, 4)),
    "Conv": (models.Conv(2, (3, 3)), (2, 4, 4, 3)),
    "Conv, batch last": (models.Conv(2, (3, 3), batch_last=True), (3, 4, 4, 2)),
    "CNN": (models.CNN(3), (2, 8, 8, 1)),
    "LeNet5": (models.LeNet5(3, 4), (2, 28, 28, 1)),
    "VGG11": (models.VGG11(3, width=1), (2, 32, 32, 3)),
    "ResNet20": (models.ResNet20(3, width=4, groups=2), (2, 8, 8, 3)),
    "ResNet20, EvoNorm": (models.ResNet20(3, "evonorm", 4, 2), (2, 8, 8, 3)),
    "ResNet18": (models.ResNet18(3, width=2), (2, 8, 8, 3)),
    "FeatureResNet": (models.FeatureResNet(9, 3, 4), (1, 16, 16, 1)),
    "FeatureResNet, depth 18": (models.FeatureResNet(18, 3, 4), (1, 8, 8, 1)),
    "SharedEncoder": (models.SharedEncoder(7, 4, 1, 2, 6, 8, buckets=3, projection=2), IDS),
    "Bert": (models.Bert(BERT), IDS),
}
ALL = QUICK | SLOW


def start(model, x):
    """Parameters away from their start, of a size at which nothing saturates."""
    rng = np.random.default_rng(1)

    def draw(leaf):
        noise = rng.normal(size=leaf.shape)
        return noise / np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 1 + 0.1 * abs(noise)

    return jax.tree.map(draw, jax.eval_shape(model.init, KEY, x))


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_forward_mode_equals_reverse_mode(name, x64):
    model, inputs = ALL[name]
    if inputs is IDS:
        check_derivatives(lambda params: model.apply(params, IDS), start(model, IDS))
    else:
        x = np.random.default_rng(0).normal(size=inputs)
        check_derivatives(model.apply, start(model, x), x)


def test_every_model_is_here():
    modules = {getattr(models, name) for name in models.__all__}
    modules = {m for m in modules if isinstance(m, type) and issubclass(m, nn.Module)}
    assert {type(model) for model, _ in ALL.values()} == modules


@pytest.mark.slow
def test_batch_statistics(x64):
    model, x = models.ResNet18(3, width=2), np.random.default_rng(0).normal(size=(3, 8, 8, 3))
    variables = start(model, x)

    def both(params, x):
        own = {**variables, "params": params}
        return model.apply(own, x, train=True, mutable="batch_stats")

    check_derivatives(both, variables["params"], x, rtol=1e-7)


def test_max_pool(x64):
    check_derivatives(models.max_pool, np.random.default_rng(0).normal(size=(2, 4, 4, 3)))


@pytest.mark.slow
def test_vae(x64):
    model = models.vae((2, 2, 1), latents=2, hidden=(3,))
    x = np.random.default_rng(0).uniform(size=(3, 2, 2, 1))
    params = jax.tree.map(np.asarray, model.init(KEY, x))

    def both(params, x):
        loss, _ = model.loss(params, jc.data.Dataset(x, None), KEY)
        return loss, model.decode(params, model.encode(params, x)[0])

    check_derivatives(both, params, x)


def test_word_vectors(x64):
    rng = np.random.default_rng(0)
    loss, rows = jc.objectives.x2static_loss(), jc.objectives.x2static_rows
    batch = {"targets": IDS[0], "negatives": IDS}

    def value(table, contexts):
        own = batch | {"contexts": contexts}
        return loss({name: table[ids] for name, ids in rows(own).items()}, own, KEY)

    check_derivatives(value, rng.normal(size=(7, 3)), rng.normal(size=(4, 3)))
