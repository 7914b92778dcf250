"""Convolution, bias and pooling whose gradients are as fast in a loop over clients as alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jcollab import layout
from jcollab.models.kernels import planes

Array = jax.Array
Pads = tuple[tuple[int, int], ...]
LAYOUT = ("NHWC", "HWIO", "NHWC")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    """Two-dimensional convolution, ``[b, H, W, I]`` with ``[kh, kw, I, O]``.

    Its backward pass is written as two convolutions in the same layout as the forward one. The
    transposed ones of automatic differentiation are rearranged for the fast kernel only outside
    of loops, and cost 30 times as much inside of one on a CPU. Forward-mode differentiation is
    not defined: take ``flax.linen.Conv`` for that.

    Args:
        x: inputs.
        kernel: filters.
        strides: steps in height and width.
        pads: zeros added before and after, in height and in width.
    """
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=LAYOUT)


def _forward(
    x: Array, kernel: Array, strides: tuple[int, int], pads: Pads
) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, strides, pads), (x, kernel)


def _backward(
    strides: tuple[int, int], pads: Pads, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    sizes = zip(x.shape[1:3], dy.shape[1:3], kernel.shape[:2], strides, pads, strict=True)
    x_pads, kernel_pads = [], []
    for size, out, k, stride, (low, high) in sizes:
        rest = size + low + high - k - (out - 1) * stride  # inputs that no window reached
        x_pads.append((k - 1 - low, k - 1 - high + rest))
        kernel_pads.append((low, high - rest))
    # inputs: the gradient, spread out by the stride, with the turned filters
    dx = jax.lax.conv_general_dilated(
        dy,
        jnp.flip(kernel, (0, 1)).swapaxes(2, 3),
        (1, 1),
        x_pads,
        lhs_dilation=strides,
        dimension_numbers=LAYOUT,
    )
    # filters: channels take the part of the batch, and the gradient that of the filters
    dkernel = jax.lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        kernel_pads,
        rhs_dilation=strides,
        dimension_numbers=LAYOUT,
    )
    return dx, dkernel.transpose(1, 2, 0, 3)


convolve.defvjp(_forward, _backward)


def apply_kernel(x: Array, kernel: Array, strides: tuple[int, ...], pads: Pads) -> Array:
    """:func:`convolve` in a loop over clients; elsewhere the plain operation.

    Accelerators have backward passes of their own.
    """
    if layout.loops():
        return convolve(x, kernel, strides, pads)
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=LAYOUT)


@jax.custom_vjp
def add_bias(x: Array, bias: Array) -> Array:
    """``x + bias`` along the last axis.

    The bias's gradient is a product with ones: on a CPU, a sum over the leading axes costs more
    than the convolution that it follows.
    """
    return x + bias


def _add_forward(x: Array, bias: Array) -> tuple[Array, None]:
    return x + bias, None


def _add_backward(saved: None, dy: Array) -> tuple[Array, Array]:
    rows = dy.reshape(-1, dy.shape[-1])
    return dy, jnp.matmul(jnp.ones(len(rows), dy.dtype), rows, precision="highest")


add_bias.defvjp(_add_forward, _add_backward)


def max_pool(x: Array, size: int = 2) -> Array:
    """Maximum over windows of ``size x size`` that do not overlap; what is left over is cut off.

    A maximum of slices: on a CPU its gradient costs a seventh of that of a sliding window. Where
    inputs tie, they share the gradient.

    Args:
        x: height and width on axes 1 and 2.
        size: height, width and step of a window.
    """
    for axis in (1, 2):
        whole = x.shape[axis] // size * size
        parts = (jax.lax.slice_in_dim(x, i, whole, size, axis) for i in range(size))
        x = functools.reduce(jnp.maximum, parts)
    return x


class Conv(nn.Module):
    """``flax.linen.Conv`` in two dimensions, with the same parameters and initial values.

    Attributes:
        features: output channels O.
        kernel_size: height and width of a filter.
        strides: steps in height and width, or one number for both.
        padding: ``"SAME"``, ``"VALID"``, or zeros before and after in height and in width.
        use_bias: whether to add a bias.
        dtype: type to compute in; None for that of inputs and parameters.
        param_dtype: type of the parameters.
        kernel_init: initialiser of the filters.
        bias_init: initialiser of the bias.
        batch_last: inputs and outputs are ``[I, H, W, b]`` and ``[O, H', W', b]``, which is faster
            on a CPU where channels are few. Only with strides of 1.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Any = nn.linear.default_kernel_init
    bias_init: Any = nn.initializers.zeros_init()
    batch_last: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """``[b, H, W, I]`` to ``[b, H', W', O]``."""
        height, width = self.kernel_size
        shape = (height, width, x.shape[0 if self.batch_last else -1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, shape[-1:], self.param_dtype)
        strides = (self.strides,) * 2 if isinstance(self.strides, int) else tuple(self.strides)
        pads = self.padding
        if isinstance(pads, str):
            pads = jax.lax.padtype_to_pads(x.shape[1:3], (height, width), strides, pads)
        pads = tuple((int(low), int(high)) for low, high in pads)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.batch_last:
            if strides != (1, 1):
                raise ValueError(f"strides must be 1 with batch_last, got {strides}")
            x = planes.convolve(x, kernel, pads)
            return x if bias is None else x + bias[:, None, None, None]
        x = apply_kernel(x, kernel, strides, pads)
        return x if bias is None else add_bias(x, bias)
