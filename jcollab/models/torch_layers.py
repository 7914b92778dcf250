"""Layers with the initial values and the padding of PyTorch, which published results depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jcollab.models.convolution import Conv

Array = jax.Array
# PyTorch's default for kernels: uniform within +-1 / sqrt(fan_in), of variance 1 / (3 fan_in)
UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# N(0, 2 / (k k out_channels)), not truncated
HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def uniform_bias(fan_in: int) -> Callable[..., Array]:
    """Builds an initializer of biases, uniform within ``+-1 / sqrt(fan_in)``.

    Args:
        fan_in: number of inputs of a unit, which flax does not pass to the initializer of a bias.

    Example:
        >>> init = uniform_bias(fan_in=4)
        >>> bool((jnp.abs(init(jax.random.key(0), (100,))) <= 0.5).all())
        True
    """
    bound = fan_in**-0.5

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def torch_dense(features: int, fan_in: int) -> nn.Dense:
    """Builds a dense layer with kernel and bias uniform within ``+-1 / sqrt(fan_in)``.

    Args:
        features: width of the output.
        fan_in: width of the input.

    Example:
        >>> torch_dense(3, fan_in=2).init_with_output(jax.random.key(0), jnp.ones((5, 2)))[0].shape
        (5, 3)
    """
    return nn.Dense(features, kernel_init=UNIFORM, bias_init=uniform_bias(fan_in))


def torch_conv(features: int, size: int, stride: int = 1, kernel_init: Any = HE) -> Conv:
    """Builds a convolution without bias that pads every side by ``size // 2``.

    For a strided convolution, ``"SAME"`` would pad more at the end than at the start.

    Args:
        features: output channels.
        size: height and width of the kernel, odd.
        stride: step in height and width.
        kernel_init: initializer of the kernel.

    Example:
        >>> conv = torch_conv(features=4, size=3, stride=2)
        >>> conv.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 1)))[0].shape
        (1, 4, 4, 4)
    """
    pads = ((size // 2, size // 2),) * 2
    return Conv(
        features, (size, size), stride, padding=pads, use_bias=False, kernel_init=kernel_init
    )
