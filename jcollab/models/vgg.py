"""VGG-11 for small images, without batch normalization."""

from collections.abc import Callable

import flax.linen as nn
import jax

from jcollab import checks
from jcollab.layout.kernels import max_pool
from jcollab.models.convolution import Conv
from jcollab.models.torch_layers import HE, torch_dense

PADS = ((1, 1), (1, 1))
# output channels in multiples of the width; the first stages end with 2 x 2 max-pooling
STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))


class VGG11(nn.Module):
    """Convolutions of 3 x 3 with ReLU, then three dense layers with dropout before the first two.

    The layers are ``64, M, 128, M, 256, 256, M, 512, 512, M, 512, 512, M`` (M is 2 x 2
    max-pooling), then ``dropout, 512, ReLU, dropout, 512, ReLU, C``: configuration A of Simonyan
    and Zisserman with narrower dense layers. Filters are initialized from N(0, 2/(k k
    out_channels)), their biases with 0, and dense layers as in PyTorch. The defaults have 9,750,922
    parameters.

    Attributes:
        num_classes: C, width of the output.
        width: channels of the first convolution; all other widths are multiples of it.
        dropout_rate: fraction of the inputs of a dense layer that is dropped in training.
        poolings: number of poolings, 5 in the paper; with 4, images may have 16 x 16 pixels.

    Raises:
        ValueError: if width or num_classes is below 1, dropout_rate is outside [0, 1), or poolings
            is outside 1..5.

    Example:
        >>> model = jc.models.VGG11()
        >>> params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        9750922

    Source: Simonyan and Zisserman 2014, arXiv 1409.1556; as in Vogels et al. 2021, arXiv
    2110.04175.
    """

    num_classes: int = 10
    width: int = 64
    dropout_rate: float = 0.5
    poolings: int = len(STAGES)

    def __post_init__(self) -> None:
        checks.counts(num_classes=self.num_classes, width=self.width)
        checks.number("dropout_rate", self.dropout_rate, at_least=0, below=1)
        checks.count("poolings", self.poolings, 1, len(STAGES))
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Computes logits ``[b, C]`` of images ``[b, height, width, channels]``.

        Args:
            x: images, height and width at least ``2^poolings``.
            train: whether to apply dropout, for which ``apply`` needs ``rngs={"dropout": key}``.

        Raises:
            ValueError: if the images are smaller, since every pooling halves them.
        """
        least = 2**self.poolings
        if x.ndim != 4 or min(x.shape[1:3]) < least:
            raise ValueError(
                f"x must be images of at least {least} x {least}, [b, height, width, channels], "
                f"got shape {x.shape}"
            )
        for number, stage in enumerate(STAGES):
            for i, multiple in enumerate(stage):
                conv = Conv(multiple * self.width, (3, 3), padding=PADS, kernel_init=HE)
                x = conv(x) if i == 0 else conv(nn.relu(x))
            # ReLU is monotone, so it commutes with the maximum: pooling first gives the same
            # result and leaves a quarter of the activations to compute.
            x = nn.relu(max_pool(x) if number < self.poolings else x)
        x = x.reshape(x.shape[0], -1)
        drop: Callable[[jax.Array], jax.Array] = nn.Dropout(
            self.dropout_rate, deterministic=not train
        )
        for _ in range(2):
            x = nn.relu(torch_dense(8 * self.width, x.shape[-1])(drop(x)))
        return torch_dense(self.num_classes, x.shape[-1])(x)
