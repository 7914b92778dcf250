"""The network of the paper's MNIST experiments."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from jcollab.models import Conv, max_pool


class MnistNet(nn.Module):
    """Two 3 x 3 convolutions (32, 64), max-pooling, dropout, and dense layers of 128 and C.

    Attributes:
        num_classes: C.
        hidden: width of the dense layer before the last.
    """

    num_classes: int = 10
    hidden: int = 128

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits ``[b, C]``; with ``train``, ``apply`` needs ``rngs={"dropout": key}``."""
        x = nn.relu(Conv(32, (3, 3), padding="VALID")(x))
        x = nn.relu(max_pool(Conv(64, (3, 3), padding="VALID")(x)))
        x = nn.Dropout(0.25, broadcast_dims=(1, 2), deterministic=not train)(x)
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


def in_training(model: nn.Module) -> Any:
    """``train(params, x, key) -> logits`` with dropout, where the model has one."""
    if not isinstance(model, MnistNet):
        return None
    return lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})
