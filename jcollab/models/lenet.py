"""Networks in two parts, bounded features and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from jcollab import layout
from jcollab.models.kernels.convolution import Conv, max_pool
from jcollab.models.torch_layers import UNIFORM, torch_dense, uniform_bias

Array = jax.Array


class LeNet5(nn.Module):
    """Three convolutions, global average pooling, features in (-1, 1) and a linear classifier.

    Convolutions 5 x 5 to 6 and to 16 channels, each with ReLU and 2 x 2 max-pooling, 3 x 3 to 120
    with ReLU, the mean over all places, a dense layer with tanh, and the classifier: 30,986
    parameters for one input channel, 84 features and 10 classes.

    Attributes:
        num_classes: C.
        num_features: d.
        channels: of the images; they only set the range of the first biases.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """

    num_classes: int = 10
    num_features: int = 84
    channels: int = 1

    def setup(self) -> None:
        """Layers."""
        inputs = (25 * self.channels, 25 * 6, 9 * 16)
        shapes = ((6, 5), (16, 5), (120, 3))
        self.convolutions = [
            Conv(
                width,
                (size, size),
                kernel_init=UNIFORM,
                bias_init=uniform_bias(count),
                batch_last=layout.loops(),
            )
            for (width, size), count in zip(shapes, inputs, strict=True)
        ]
        self.dense = torch_dense(self.num_features, 120)
        self.classifier = torch_dense(self.num_classes, self.num_features)

    def features(self, x: Array) -> Array:
        """``[b, height, width, channels]`` to ``[b, d]``, before the classifier."""
        first, second, third = self.convolutions
        batch_last = layout.loops()
        x = x.transpose(3, 1, 2, 0) if batch_last else x
        for convolution in (first, second):
            x = nn.relu(max_pool(convolution(x)))
        x = nn.relu(third(x)).mean((1, 2))
        return nn.tanh(self.dense(x.T if batch_last else x))

    def head(self, features: Array) -> Array:
        """``[b, d]`` to logits ``[b, C]``."""
        return self.classifier(features)

    def __call__(self, x: Array) -> Array:
        """Logits ``[b, C]``."""
        return self.head(self.features(x))


class FeatureMLP(nn.Module):
    """Hidden layers with ReLU, features in (-1, 1) and a linear classifier.

    Attributes:
        num_classes: C.
        num_features: d.
        hidden: widths of the layers before the features.
    """

    num_classes: int = 10
    num_features: int = 84
    hidden: Sequence[int] = (64,)

    def setup(self) -> None:
        """Layers."""
        self.layers = [nn.Dense(width) for width in self.hidden]
        self.dense = nn.Dense(self.num_features)
        self.classifier = nn.Dense(self.num_classes)

    def features(self, x: Array) -> Array:
        """``[b, ...]`` to ``[b, d]``, before the classifier."""
        x = x.reshape(x.shape[0], -1)
        for layer in self.layers:
            x = nn.relu(layer(x))
        return nn.tanh(self.dense(x))

    def head(self, features: Array) -> Array:
        """``[b, d]`` to logits ``[b, C]``."""
        return self.classifier(features)

    def __call__(self, x: Array) -> Array:
        """Logits ``[b, C]``."""
        return self.head(self.features(x))


def two_parts(model: nn.Module) -> tuple[Callable[[Any, Array], Any], ...]:
    """``features(params, x)`` and ``head(params, features)`` of a module with these two methods.

    Raises:
        TypeError: if one is missing.
    """
    for name in ("features", "head"):
        if not callable(getattr(model, name, None)):
            raise TypeError(f"model must have a method {name}, {type(model).__name__} has none")

    def features(params: Any, x: Array) -> Any:
        return model.apply(params, x, method="features")

    def head(params: Any, features: Array) -> Any:
        return model.apply(params, features, method="head")

    return features, head
