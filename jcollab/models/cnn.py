"""A convolutional network with max-pooling after each convolution."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from jcollab import checks
from jcollab.layout.kernels import max_pool
from jcollab.models.convolution import Conv


class CNN(nn.Module):
    """Convolution, ReLU and 2 x 2 max-pooling for each entry of ``channels``, then dense layers.

    The defaults give the network of McMahan et al. 2017 (arXiv 1602.05629).

    Attributes:
        num_classes: C, width of the output.
        channels: output channels of the convolutions; each pooling halves height and width.
        hidden: widths of the dense layers before the last.
        kernel: height and width of a filter.
        padding: padding of the convolutions, ``"SAME"`` or ``"VALID"``.

    Example:
        >>> model = jc.models.CNN(num_classes=10)
        >>> params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        1663370
    """

    num_classes: int
    channels: Sequence[int] = (32, 64)
    hidden: Sequence[int] = (512,)
    kernel: int = 5
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes logits ``[b, C]`` of images ``[b, height, width, channels]``."""
        checks.counts(num_classes=self.num_classes, kernel=self.kernel)
        checks.integers("channels", self.channels, at_least=1)
        checks.integers("hidden", self.hidden, at_least=1)
        if x.ndim != 4:
            raise ValueError(f"x must be [b, height, width, channels], got {list(x.shape)}")
        for width in self.channels:
            # ReLU is monotone, so it commutes with the maximum: pooling first gives the same
            # result and leaves a quarter of the activations to compute.
            convolved = Conv(width, (self.kernel, self.kernel), padding=self.padding)(x)
            x = nn.relu(max_pool(convolved))
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)
