"""Networks of the D-BAT experiments."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax

import jcollab as jc


class LeNet(nn.Module):
    """Two 5 x 5 convolutions with pooling, the first one padded, then dense layers.

    Attributes:
        outputs: 1 for two classes, else C.
        channels: of the two convolutions.
        hidden: widths of the dense layers.
        dropout: fraction of the dense layers' units that is dropped in training.
        variance: of the first weights, times their inputs; 1/3 in the original code's framework.
    """

    outputs: int
    channels: Sequence[int] = (6, 16)
    hidden: Sequence[int] = (120, 84)
    dropout: float = 0.0
    variance: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits ``[b, outputs]`` of images ``[b, height, width, channels]``."""
        pads = (((2, 2), (2, 2)), "VALID")
        init = nn.initializers.variance_scaling(self.variance, "fan_in", "truncated_normal")
        batch_last = jc.layout.loops()
        x = x.transpose(3, 1, 2, 0) if batch_last else x
        for width, padding in zip(self.channels, pads, strict=True):
            x = jc.models.Conv(
                width, (5, 5), padding=padding, kernel_init=init, batch_last=batch_last
            )(x)
            x = nn.relu(jc.models.max_pool(x))
        x = x.transpose(3, 1, 2, 0) if batch_last else x
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width, kernel_init=init)(x))
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.outputs, kernel_init=init)(x)


def leaky(width: int) -> nn.Module:
    """The network of the example in the plane."""
    return jc.models.MLP(1, (width,), lambda x: nn.leaky_relu(x, 0.01))
