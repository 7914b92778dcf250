"""VGG-11 for images of 32 x 32, without batch normalization."""

from collections.abc import Callable

import flax.linen as nn
import jax

from jcollab import checks
from jcollab.models.kernels.convolution import Conv, max_pool
from jcollab.models.torch_layers import HE, torch_dense

PADS = ((1, 1), (1, 1))
# output channels in multiples of the width; every stage ends with 2 x 2 max-pooling
STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))


class VGG11(nn.Module):
    """Convolutions of 3 x 3 with ReLU, then three dense layers with dropout before the first two.

    ``64, M, 128, M, 256, 256, M, 512, 512, M, 512, 512, M`` (M is 2 x 2 max-pooling), then
    ``dropout, 512, ReLU, dropout, 512, ReLU, C``. Convolutions start at N(0, 2/(k k out_channels))
    with bias 0, dense layers at PyTorch's default. Simonyan and Zisserman's configuration A with
    narrow dense layers; 9 750 922 parameters with the defaults.

    Attributes:
        num_classes: C, width of the output.
        width: channels of the first convolution; all other widths are multiples of it.
        dropout_rate: share of the inputs of a dense layer that is dropped, in training only.

    Raises:
        ValueError: if width or num_classes is below 1, or dropout_rate outside [0, 1).

    Source: Simonyan and Zisserman 2014, arXiv 1409.1556; as in Vogels et al. 2021, arXiv
    2110.04175.
    """

    num_classes: int = 10
    width: int = 64
    dropout_rate: float = 0.5

    def __post_init__(self) -> None:
        checks.counts(num_classes=self.num_classes, width=self.width)
        checks.number("dropout_rate", self.dropout_rate, at_least=0, below=1)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits ``[b, C]`` of images ``[b, height, width, channels]``.

        Args:
            x: images, height and width at least 32.
            train: with dropout, for which ``apply`` needs ``rngs={"dropout": key}``.

        Raises:
            ValueError: if the images are smaller than 32 x 32: five poolings would leave nothing.
        """
        if x.ndim != 4 or min(x.shape[1:3]) < 32:
            raise ValueError(f"x must be images [b, >=32, >=32, channels], got shape {x.shape}")
        for stage in STAGES:
            for i, multiple in enumerate(stage):
                conv = Conv(multiple * self.width, (3, 3), padding=PADS, kernel_init=HE)
                x = conv(x) if i == 0 else conv(nn.relu(x))
            # pooling first is the same, and leaves a quarter of the ReLUs
            x = nn.relu(max_pool(x))
        x = x.reshape(x.shape[0], -1)
        drop: Callable[[jax.Array], jax.Array] = nn.Dropout(
            self.dropout_rate, deterministic=not train
        )
        for _ in range(2):
            x = nn.relu(torch_dense(8 * self.width, x.shape[-1])(drop(x)))
        return torch_dense(self.num_classes, x.shape[-1])(x)
