"""Convolutions in the layout for which XLA has a fast kernel on a CPU, inside of loops too.

The gradients that automatic differentiation derives are in another layout. XLA rearranges them for
the fast kernel only outside of loops; inside of a loop they cost 30 times as much.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.layout.kernels.shifts import Pads

Array = jax.Array
Strides = tuple[int, int]
LAYOUT = ("NHWC", "HWIO", "NHWC")  # that of flax


def forward(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Convolves ``[b, H, W, I]`` with ``[kh, kw, I, O]`` to ``[b, H', W', O]``."""
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=LAYOUT)


def input_gradient(dy: Array, x: Any, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Convolves dy, with ``stride - 1`` zeros between its entries, with the flipped filters."""
    # rows and columns in no window get gradient 0, by more padding at the end
    rest = _rest(x, dy, kernel, strides, pads)
    back = [
        (k - 1 - low, k - 1 - high + r)
        for k, (low, high), r in zip(kernel.shape[:2], pads, rest, strict=True)
    ]
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return jax.lax.conv_general_dilated(
        dy, turned, (1, 1), back, lhs_dilation=strides, dimension_numbers=LAYOUT
    )


def kernel_gradient(dy: Array, x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    """Convolves the inputs with the gradient of the outputs.

    The gradient is a sum over the batch. So the batch takes the role of the input channels, the
    input channels take the role of the batch, and dy, dilated by the stride, takes the role of the
    filters.
    """
    rest = _rest(x, dy, kernel, strides, pads)
    # without the rows and columns in no window, the output has exactly the size of a filter
    back = [(low, high - r) for (low, high), r in zip(pads, rest, strict=True)]
    turned = jax.lax.conv_general_dilated(
        _written(x).transpose(3, 1, 2, 0),
        _written(dy).transpose(1, 2, 0, 3),
        (1, 1),
        back,
        rhs_dilation=strides,
        dimension_numbers=LAYOUT,
    )
    return turned.transpose(1, 2, 0, 3)


def _written(x: Array) -> Array:
    """Returns x as the result of a product with the identity, which is exact.

    XLA would fuse a transpose with the operations that compute x, for example a normalization, and
    compute them again, one number after the other. The result of a product is never fused.
    """
    width = math.gcd(x.shape[-1], 16)
    return (x.reshape(-1, width) @ jnp.eye(width, dtype=x.dtype)).reshape(x.shape)


def _rest(x: Any, dy: Array, kernel: Any, strides: Strides, pads: Pads) -> list[int]:
    """Counts the last rows and columns of the padded input that are in no window."""
    sizes = zip(x.shape[1:3], dy.shape[1:3], kernel.shape[:2], strides, pads, strict=True)
    return [size + sum(pad) - k - (out - 1) * stride for size, out, k, stride, pad in sizes]
