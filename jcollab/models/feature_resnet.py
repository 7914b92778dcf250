"""Residual networks in two parts, bounded features and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jcollab import checks
from jcollab.models.kernels.convolution import max_pool
from jcollab.models.lenet import two_parts
from jcollab.models.resnet18 import with_statistics
from jcollab.models.torch_layers import UNIFORM, torch_conv, torch_dense

Array = jax.Array
WIDTHS = {9: 256, 18: 512}  # channels before the mean over all places


class Trunk(nn.Module):
    """Images ``[b, height, width, channels]`` to ``[b, width]``, a mean over all places.

    Blocks are ``x + relu(norm(conv(relu(norm(conv(x))))))``: the activation comes before the sum,
    and there is a projection where the stride is 2.
    """

    depth: int
    momentum: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """The mean over all places."""

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
    """A residual network with batch normalization, features in (-1, 1), a linear classifier.

    2 470 730 parameters for depth 9, one channel and d = 128; 11 302 730 for depth 18, three
    channels and d = 256. Running averages are in the collection ``batch_stats``;
    :func:`parts_with_statistics` makes what :class:`jcollab.algorithms.Group` needs.

    Attributes:
        depth: 9, or 18.
        num_classes: C.
        num_features: d.
        momentum: of running averages, ``average <- momentum average + (1 - momentum) batch``.

    Raises:
        ValueError: for another depth, or images that four poolings leave nothing of.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """

    depth: int = 9
    num_classes: int = 10
    num_features: int = 128
    momentum: float = 0.9

    def setup(self) -> None:
        """Layers."""
        checks.one_of("depth", self.depth, tuple(WIDTHS))
        self.trunk = Trunk(self.depth, self.momentum)
        width, d = WIDTHS[self.depth], self.num_features
        self.dense = torch_dense(d, width)
        self.classifier = torch_dense(self.num_classes, d)

    def features(self, x: Array, train: bool = False) -> Array:
        """``[b, height, width, channels]`` to ``[b, d]``, before the classifier."""
        return nn.tanh(self.dense(self.trunk(x, train)))

    def head(self, features: Array) -> Array:
        """``[b, d]`` to logits ``[b, C]``."""
        return self.classifier(features)

    def __call__(self, x: Array, train: bool = False) -> Array:
        """Logits ``[b, C]``."""
        return self.head(self.features(x, train))


def parts_with_statistics(model: nn.Module) -> tuple[Callable[..., Any], ...]:
    """Three functions of a model: ``features``, ``head`` and ``train``.

    Args:
        model: a module with methods ``features(x, train=...)`` and ``head(features)``, and a
            collection ``batch_stats``.

    Returns:
        ``features(params, model_state, x)`` and ``train(params, model_state, x, key) -> (features,
        model_state)`` as :func:`jcollab.core.stateful` marks them, and ``head(params, features)``,
        in the order ``features, head, train``. ``params`` and ``model_state`` are
        ``variables["params"]`` and ``variables["batch_stats"]`` of ``model.init``.

    Raises:
        TypeError: if a method is missing.
    """
    _, classify = two_parts(model)
    features, train = with_statistics(model, "features")
    return features, lambda params, s: classify({"params": params}, s), train
