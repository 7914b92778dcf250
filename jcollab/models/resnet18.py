"""ResNet-18 for small images, with batch normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from jcollab.core import Stateful, stateful
from jcollab.models.torch_layers import torch_conv

Array = jax.Array


class ResNet18(nn.Module):
    """A 3 x 3 convolution without pooling, four stages of two basic blocks, mean, dense layer.

    The stages have ``width, 2 width, 4 width, 8 width`` channels, and all but the first start with
    stride 2 and a projection shortcut. 11 173 962 parameters with the defaults. Running averages
    are in the collection ``batch_stats``; :func:`with_statistics` makes functions for
    :func:`jcollab.objectives.classification` of it.

    Attributes:
        num_classes: C.
        width: channels of the first stage.
        blocks: of each stage.
        momentum: of running averages, ``average <- momentum average + (1 - momentum) batch``.

    Source: He, Zhang, Ren and Sun 2015, arXiv 1512.03385, with the stem of its CIFAR networks.
    """

    num_classes: int = 10
    width: int = 64
    blocks: Sequence[int] = (2, 2, 2, 2)
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Logits ``[b, C]`` of images ``[b, height, width, channels]``."""

        def norm(x: Array) -> Array:
            return nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(x)

        def conv(x: Array, channels: int, size: int, stride: int = 1) -> Array:
            return norm(torch_conv(channels, size, stride)(x))

        x = nn.relu(conv(x, self.width, 3))
        for stage, count in enumerate(self.blocks):
            channels = self.width * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                y = conv(nn.relu(conv(x, channels, 3, stride)), channels, 3)
                if x.shape != y.shape:
                    x = conv(x, channels, 1, stride)
                x = nn.relu(x + y)
        return nn.Dense(self.num_classes)(x.mean((1, 2)))


def with_statistics(model: nn.Module, method: str | None = None) -> tuple[Stateful, Stateful]:
    """``predict(params, model_state, x)`` and ``train(params, model_state, x, key)`` of a module.

    Args:
        model: a module called as ``model(x, train=...)`` with a collection ``batch_stats``.
        method: of the module, in place of the call.

    Returns:
        The two functions as :func:`jcollab.core.stateful` marks them; the second one returns
        ``(logits, model_state)`` with new statistics. ``model_state`` is ``batch_stats``; both come
        from ``model.init``: ``variables["params"]`` and ``variables["batch_stats"]``.

    Raises:
        TypeError: if model is not a flax module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a flax module, got {type(model).__name__}")

    def predict(params: Any, model_state: Any, x: Array) -> Any:
        return model.apply({"params": params, "batch_stats": model_state}, x, method=method)

    def train(params: Any, model_state: Any, x: Array, key: Array) -> tuple[Any, Any]:
        variables = {"params": params, "batch_stats": model_state}
        logits, new = model.apply(variables, x, train=True, method=method, mutable=["batch_stats"])
        return logits, new["batch_stats"]

    return stateful(predict), stateful(train)
