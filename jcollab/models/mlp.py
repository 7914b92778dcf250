"""A multi-layer perceptron."""

from collections.abc import Sequence

import flax.linen as nn
import jax


class MLP(nn.Module):
    """Dense layers with ReLU between them; the input ``[b, ...]`` is flattened.

    Attributes:
        num_classes: C, width of the output.
        hidden: widths of the hidden layers; none gives a linear model.
    """

    num_classes: int
    hidden: Sequence[int] = (64,)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits ``[b, C]``."""
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)
