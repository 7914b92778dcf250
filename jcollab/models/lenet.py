"""Networks in two parts: bounded features and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from jcollab import layout
from jcollab.layout.kernels import max_pool
from jcollab.models.convolution import Conv
from jcollab.models.torch_layers import UNIFORM, torch_dense, uniform_bias

Array = jax.Array


class LeNet5(nn.Module):
    """Three convolutions, global average pooling, features in (-1, 1) and a linear classifier.

    Two convolutions of 5 x 5 with 6 and 16 channels, each with ReLU and 2 x 2 max-pooling, a
    convolution of 3 x 3 with 120 channels and ReLU, the mean over height and width, a dense layer
    with tanh, and the classifier. The defaults have 30,986 parameters.

    Attributes:
        num_classes: C.
        num_features: d.
        channels: channels of the images; they determine only the range of the first biases.

    Example:
        >>> model = jc.models.LeNet5()
        >>> params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        30986

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """

    num_classes: int = 10
    num_features: int = 84
    channels: int = 1

    def setup(self) -> None:
        """Creates the layers."""
        # inputs of a unit of each convolution, for the range of PyTorch's initial biases
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
        """Computes features ``[b, d]`` of images ``[b, height, width, channels]``."""
        first, second, third = self.convolutions
        # On a CPU, the layers have the batch as the last axis: with 6 and 16 channels, vector
        # instructions along the channels would be mostly idle.
        batch_last = layout.loops()
        x = x.transpose(3, 1, 2, 0) if batch_last else x
        for convolution in (first, second):
            x = nn.relu(max_pool(convolution(x)))
        x = nn.relu(third(x)).mean((1, 2))
        return nn.tanh(self.dense(x.T if batch_last else x))

    def head(self, features: Array) -> Array:
        """Computes logits ``[b, C]`` of features ``[b, d]``."""
        return self.classifier(features)

    def __call__(self, x: Array) -> Array:
        """Computes logits ``[b, C]``."""
        return self.head(self.features(x))


class FeatureMLP(nn.Module):
    """Hidden layers with ReLU, features in (-1, 1) and a linear classifier.

    Attributes:
        num_classes: C.
        num_features: d.
        hidden: widths of the layers before the features.

    Example:
        >>> model = jc.models.FeatureMLP(num_classes=10, num_features=4)
        >>> x = jnp.ones((2, 8, 8, 1))
        >>> logits, params = model.init_with_output(jax.random.key(0), x)
        >>> features = model.apply(params, x, method="features")
        >>> features.shape, logits.shape
        ((2, 4), (2, 10))
    """

    num_classes: int = 10
    num_features: int = 84
    hidden: Sequence[int] = (64,)

    def setup(self) -> None:
        """Creates the layers."""
        self.layers = [nn.Dense(width) for width in self.hidden]
        self.dense = nn.Dense(self.num_features)
        self.classifier = nn.Dense(self.num_classes)

    def features(self, x: Array) -> Array:
        """Computes features ``[b, d]`` of inputs ``[b, ...]``."""
        x = x.reshape(x.shape[0], -1)
        for layer in self.layers:
            x = nn.relu(layer(x))
        return nn.tanh(self.dense(x))

    def head(self, features: Array) -> Array:
        """Computes logits ``[b, C]`` of features ``[b, d]``."""
        return self.classifier(features)

    def __call__(self, x: Array) -> Array:
        """Computes logits ``[b, C]``."""
        return self.head(self.features(x))


def two_parts(model: nn.Module) -> tuple[Callable[[Any, Array], Any], ...]:
    """Returns ``features(params, x)`` and ``head(params, features)`` of a module.

    Args:
        model: a flax module with methods ``features`` and ``head``.

    Raises:
        TypeError: if a method is missing.

    Example:
        >>> model = jc.models.FeatureMLP(num_classes=3, num_features=4, hidden=())
        >>> params = model.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> features, head = jc.models.two_parts(model)
        >>> head(params, features(params, jnp.ones((5, 2)))).shape
        (5, 3)
    """
    for name in ("features", "head"):
        if not callable(getattr(model, name, None)):
            raise TypeError(f"model must have a method {name}, got {type(model).__name__}")

    def features(params: Any, x: Array) -> Any:
        return model.apply(params, x, method="features")

    def head(params: Any, features: Array) -> Any:
        return model.apply(params, features, method="head")

    return features, head
