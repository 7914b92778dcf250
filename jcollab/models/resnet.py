"""ResNet-20 for small images, with a normalization that has no running averages."""

from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import widen
from jcollab.models.torch_layers import torch_conv, torch_dense

Norm = Literal["group", "evonorm"]
EPSILON = 1e-5


class EvoNorm(nn.Module):
    """EvoNorm-S0, which normalizes and activates: ``y = x sigmoid(v x) / s(x) gamma + beta``.

    ``s(x)^2`` is the variance over one image's height, width and group of channels, plus 1e-5.
    The mean is not subtracted.

    Attributes:
        groups: number of groups of channels.
        nonlinear: False reduces it to ``y = x gamma + beta``, for places without an activation.

    Raises:
        ValueError: if the channels cannot be split into groups.

    Source: Liu, Brock, Simonyan and Le 2020, arXiv 2004.02967.
    """

    groups: int = 8
    nonlinear: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns an array of the same shape ``[b, height, width, channels]``."""
        b, *_, channels = x.shape
        _check_groups(self.groups, channels)
        gamma = self.param("scale", nn.initializers.ones, (channels,))
        beta = self.param("bias", nn.initializers.zeros, (channels,))
        if self.nonlinear:
            v = self.param("v", nn.initializers.ones, (channels,))
            # averaged in float32 or wider: half precision is too coarse for a variance
            grouped = widen(x).reshape(b, -1, self.groups, channels // self.groups)
            variance = jnp.repeat(grouped.var((1, 3)), channels // self.groups, axis=-1)
            std = jnp.sqrt(variance + EPSILON)[:, None, None].astype(x.dtype)
            x = x * nn.sigmoid(v * x) / std
        return x * gamma + beta


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut.

    ``relu(shortcut(x) + norm(conv(act(norm(conv(x))))))``, where the shortcut is the identity, or
    a projection (normalized convolution of 1 x 1) if the shape changes.

    Attributes:
        channels: channels of the output.
        stride: stride of the first convolution.
        norm: as in :class:`ResNet20`.
        groups: as in :class:`ResNet20`.
    """

    channels: int
    stride: int = 1
    norm: Norm = "group"
    groups: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes features ``[b, height / stride, width / stride, channels]``."""
        y = torch_conv(self.channels, 3, self.stride)(x)
        y = _norm_act(self.norm, self.groups, y)
        y = torch_conv(self.channels, 3)(y)
        y = _norm(self.norm, self.groups, y)
        if x.shape != y.shape:
            x = _norm(self.norm, self.groups, torch_conv(self.channels, 1, self.stride)(x))
        return nn.relu(x + y)


class ResNet20(nn.Module):
    """A convolution of 3 x 3, three stages of three basic blocks, the spatial mean, a dense layer.

    The stages have ``width, 2 width, 4 width`` channels. The second and third start with stride 2
    and a projection shortcut of 1 x 1 (option B of He et al.), which has a normalization but no
    activation. Convolutions have no bias and are initialized from N(0, 2/(k k out_channels)); the
    dense layer is initialized as in PyTorch. The defaults have 272,474 parameters.

    With ``norm="evonorm"``, one :class:`EvoNorm` replaces each normalization followed by a ReLU.
    Where no activation follows (end of a block, projection), only its affine part remains; the ReLU
    after the sum is not replaced.

    Attributes:
        num_classes: C, width of the output.
        norm: ``"group"`` (GroupNorm and ReLU) or ``"evonorm"`` (EvoNorm-S0). Neither depends on
            the batch or has running statistics, so models can be averaged without special care.
        width: channels of the first stage; 16 in the paper.
        groups: number of groups of channels of the normalization.

    Raises:
        ValueError: for another norm, a width that is not divisible by groups, or num_classes < 1.

    Example:
        >>> model = jc.models.ResNet20()
        >>> params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        272474

    Source: He, Zhang, Ren and Sun 2015, arXiv 1512.03385; Wu and He 2018, arXiv 1803.08494; Liu,
    Brock, Simonyan and Le 2020, arXiv 2004.02967.
    """

    num_classes: int = 10
    norm: Norm = "group"
    width: int = 16
    groups: int = 8

    def __post_init__(self) -> None:
        checks.one_of("norm", self.norm, get_args(Norm))
        checks.count("num_classes", self.num_classes)
        _check_groups(self.groups, self.width)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes logits ``[b, C]`` of images ``[b, height, width, channels]``."""
        x = _norm_act(self.norm, self.groups, torch_conv(self.width, 3)(x))
        for stage in range(3):
            for block in range(3):
                stride = 2 if stage > 0 and block == 0 else 1
                x = BasicBlock(self.width * 2**stage, stride, self.norm, self.groups)(x)
        x = x.mean((1, 2))
        return torch_dense(self.num_classes, x.shape[-1])(x)


def _norm_act(norm: Norm, groups: int, x: jax.Array) -> jax.Array:
    return EvoNorm(groups)(x) if norm == "evonorm" else nn.relu(_norm(norm, groups, x))


def _norm(norm: Norm, groups: int, x: jax.Array) -> jax.Array:
    if norm == "evonorm":
        return EvoNorm(groups, nonlinear=False)(x)
    return nn.GroupNorm(groups, epsilon=EPSILON)(x)


def _check_groups(groups: int, channels: int) -> None:
    if groups < 1 or channels < 1 or channels % groups:
        raise ValueError(f"groups must divide the channels, got groups={groups} for {channels}")
