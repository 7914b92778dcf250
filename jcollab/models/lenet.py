"""Networks in two parts, bounded features and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from jcollab.models.convolution import Conv, max_pool

Array = jax.Array


class LeNet5(nn.Module):
    """Three convolutions, global average pooling, features in (-1, 1) and a linear classifier.

    Convolutions 5 x 5 to 6 and to 16 channels, each with ReLU and 2 x 2 max-pooling, 3 x 3 to 120
    with ReLU, the mean over all places, a dense layer with tanh, and the classifier: 30,986
    parameters for one input channel, 84 features and 10 classes.

    Attributes:
        num_classes: C.
        num_features: d.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """

    num_classes: int = 10
    num_features: int = 84

    def setup(self) -> None:
        """Layers."""
        self.convolutions = [
            Conv(6, (5, 5), padding=((2, 2), (2, 2))),
            Conv(16, (5, 5), padding=((2, 2), (2, 2))),
            Conv(120, (3, 3), padding=((1, 1), (1, 1))),
        ]
        self.dense = nn.Dense(self.num_features)
        self.classifier = nn.Dense(self.num_classes)

    def features(self, x: Array) -> Array:
        """``[b, height, width, channels]`` to ``[b, d]``, before the classifier."""
        first, second, third = self.convolutions
        for convolution in (first, second):
            x = nn.relu(max_pool(convolution(x)))
        return nn.tanh(self.dense(nn.relu(third(x)).mean((1, 2))))

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
        TypeError: if it has not both.
    """
    for name in ("features", "head"):
        if not callable(getattr(model, name, None)):
            raise TypeError(f"model must have a method {name}, {type(model).__name__} has none")

    def features(params: Any, x: Array) -> Any:
        return model.apply(params, x, method="features")

    def head(params: Any, features: Array) -> Any:
        return model.apply(params, features, method="head")

    return features, head
