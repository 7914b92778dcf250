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
    """A convolution of 3 x 3, four stages of two basic blocks, the spatial mean, a dense layer.

    The stages have ``width, 2 width, 4 width, 8 width`` channels, and all but the first start with
    stride 2 and a projection shortcut. The defaults have 11,173,962 parameters. Running averages
    are in the collection ``batch_stats``; :func:`with_statistics` returns the functions that
    :func:`jcollab.objectives.classification` needs.

    Attributes:
        num_classes: C.
        width: channels of the first stage.
        blocks: number of blocks of each stage.
        momentum: of running averages, ``average <- momentum average + (1 - momentum) batch``.

    Example:
        >>> model = jc.models.ResNet18()
        >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
        11173962

    Source: He, Zhang, Ren and Sun 2015, arXiv 1512.03385, with the stem of its CIFAR networks.
    """

    num_classes: int = 10
    width: int = 64
    blocks: Sequence[int] = (2, 2, 2, 2)
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Computes logits ``[b, C]`` of images ``[b, height, width, channels]``."""

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
    """Returns the functions ``predict`` and ``train`` of a module with batch statistics.

    Args:
        model: a module called as ``model(x, train=...)`` with a collection ``batch_stats``.
        method: name of a method to call instead of the module.

    Returns:
        ``predict(params, model_state, x) -> logits`` and ``train(params, model_state, x, key) ->
        (logits, model_state)`` with new statistics, both marked by :func:`jcollab.core.stateful`.
        ``params`` and ``model_state`` are ``variables["params"]`` and ``variables["batch_stats"]``
        of ``model.init``.

    Raises:
        TypeError: if model is not a flax module.

    Example:
        >>> model = jc.models.ResNet18(num_classes=3, width=4, blocks=(1,))
        >>> x = jnp.ones((2, 8, 8, 1))
        >>> shapes = jax.eval_shape(model.init, jax.random.key(0), x)
        >>> predict, train = jc.models.with_statistics(model)
        >>> jax.eval_shape(predict, shapes["params"], shapes["batch_stats"], x).shape
        (2, 3)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a flax module, got {type(model).__name__}")

    def predict(params: Any, model_state: Any, x: Array) -> Any:
        return model.apply({"params": params, "batch_stats": model_state}, x, method=method)

    # ``key`` is not used; it is part of the signature of training functions.
    def train(params: Any, model_state: Any, x: Array, key: Array) -> tuple[Any, Any]:
        variables = {"params": params, "batch_stats": model_state}
        logits, new = model.apply(variables, x, train=True, method=method, mutable=["batch_stats"])
        return logits, new["batch_stats"]

    return stateful(predict), stateful(train)
