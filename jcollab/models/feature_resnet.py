"""Residual networks in two parts: bounded features and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jcollab import checks
from jcollab.layout.kernels import max_pool
from jcollab.models.lenet import two_parts
from jcollab.models.resnet18 import with_statistics
from jcollab.models.torch_layers import UNIFORM, torch_conv, torch_dense

Array = jax.Array
WIDTHS = {9: 256, 18: 512}  # channels before the mean over height and width


class Trunk(nn.Module):
    """Residual blocks from images ``[b, height, width, channels]`` to ``[b, width]``.

    A block is ``x + relu(norm(conv(relu(norm(conv(x))))))``: the activation comes before the sum.
    If the stride is 2, x is projected.
    """

    depth: int
    momentum: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Computes the mean of the last block over height and width."""

        def conv(x: Array, channels: int, size: int = 3, stride: int = 1) -> Array:
            layer = torch_conv(channels, size, stride, kernel_init=UNIFORM)
            norm = nn.BatchNorm(use_running_average=not train, momentum=self.momentum)
            return norm(layer(x))

        def block(x: Array, channels: int, stride: int = 1) -> Array:
            y = nn.relu(conv(nn.relu(conv(x, channels, stride=stride)), channels))
            return y + (x if stride == 1 else conv(x, channels, 1, stride))

        x = nn.relu(conv(x, 64))
        if self.depth == 18:
            for channels in (64, 128, 256, 512):
                x = block(x, channels, 1 if channels == 64 else 2)
                x = block(x, channels)
        else:
            if min(x.shape[1:3]) < 16:
                raise ValueError(f"images must be at least 16 x 16 for depth 9, got {x.shape[1:3]}")
            x = block(max_pool(nn.relu(conv(x, 128))), 128)
            for _ in range(2):
                x = max_pool(nn.relu(conv(x, 256)))
            x = max_pool(block(x, 256))
        return x.mean((1, 2))


class FeatureResNet(nn.Module):
    """A residual network with batch normalization, features in (-1, 1) and a linear classifier.

    It has 2,470,730 parameters for depth 9, one channel and d = 128, and 11,302,730 for depth 18,
    three channels and d = 256. Running averages are in the collection ``batch_stats``;
    :func:`parts_with_statistics` returns the functions that :class:`jcollab.algorithms.Group`
    needs.

    Attributes:
        depth: 9 or 18.
        num_classes: C.
        num_features: d.
        momentum: of running averages, ``average <- momentum average + (1 - momentum) batch``.

    Raises:
        ValueError: for another depth, or for images below 16 x 16 with depth 9, which has four
            poolings.

    Example:
        >>> model = jc.models.FeatureResNet(depth=9)
        >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
        2470730

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """

    depth: int = 9
    num_classes: int = 10
    num_features: int = 128
    momentum: float = 0.9

    def setup(self) -> None:
        """Creates the layers."""
        checks.one_of("depth", self.depth, tuple(WIDTHS))
        self.trunk = Trunk(self.depth, self.momentum)
        width, d = WIDTHS[self.depth], self.num_features
        self.dense = torch_dense(d, width)
        self.classifier = torch_dense(self.num_classes, d)

    def features(self, x: Array, train: bool = False) -> Array:
        """Computes features ``[b, d]`` of images ``[b, height, width, channels]``."""
        return nn.tanh(self.dense(self.trunk(x, train)))

    def head(self, features: Array) -> Array:
        """Computes logits ``[b, C]`` of features ``[b, d]``."""
        return self.classifier(features)

    def __call__(self, x: Array, train: bool = False) -> Array:
        """Computes logits ``[b, C]``."""
        return self.head(self.features(x, train))


def parts_with_statistics(model: nn.Module) -> tuple[Callable[..., Any], ...]:
    """Returns the functions ``features``, ``head`` and ``train`` of a module with batch statistics.

    Args:
        model: a module with methods ``features(x, train=...)`` and ``head(features)``, and a
            collection ``batch_stats``.

    Returns:
        ``features(params, model_state, x)``, ``head(params, features)`` and ``train(params,
        model_state, x, key) -> (features, model_state)``, in this order. The first and the last are
        marked by :func:`jcollab.core.stateful`. ``params`` and ``model_state`` are
        ``variables["params"]`` and ``variables["batch_stats"]`` of ``model.init``.

    Raises:
        TypeError: if a method is missing.

    Example:
        >>> model = jc.models.FeatureResNet(depth=9, num_features=32)
        >>> x = jnp.ones((2, 16, 16, 1))
        >>> shapes = jax.eval_shape(model.init, jax.random.key(0), x)
        >>> features, head, train = jc.models.parts_with_statistics(model)
        >>> jax.eval_shape(features, shapes["params"], shapes["batch_stats"], x).shape
        (2, 32)
    """
    _, classify = two_parts(model)
    features, train = with_statistics(model, "features")
    return features, lambda params, s: classify({"params": params}, s), train
