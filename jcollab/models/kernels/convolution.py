"""Convolution, bias and pooling with gradients that are fast in a loop over clients on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jcollab import checks, layout
from jcollab.models.kernels import planes, products
from jcollab.models.kernels.bilinear import bilinear
from jcollab.models.kernels.shifts import Pads

Array = jax.Array
# the layout of flax, for which XLA has a fast kernel on a CPU, inside of loops too
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(x: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    """Convolves ``[b, H, W, I]`` with ``[kh, kw, I, O]`` in two dimensions, for loops on a CPU.

    Value and gradients are computed in the form that is fastest for the shape (:func:`_small`):
    as matrix products (:mod:`jcollab.models.kernels.products`), or as convolutions in the layout of
    the forward one. The gradients that automatic differentiation derives are in another layout. XLA
    rearranges them for its fast kernel only outside of loops; inside of a loop they cost 30 times
    as much.

    Args:
        x: inputs.
        kernel: filters.
        strides: steps in height and width.
        pads: zeros added before and after, in height and in width.
    """
    return _convolve(x, kernel, strides=strides, pads=pads)


def _small(x: Any, kernel: Any) -> bool:
    """Returns whether matrix products are faster than a convolution.

    Measured GFLOP/s in a loop, batch 32, two cores, for the forward pass, the gradient of the input
    and the gradient of the filters:

        image, channels     filter, stride    convolution      products
        2 x 2, 512 to 512   3 x 3, 1          2, 2, 211        128, 169, 152
        2 x 2, 64 to 64     3 x 3, 1          15, 14, 78       114, 142, 82
        32 x 32, 64 to 128  1 x 1, 2          95, 34, 8        148, 58, 47
        3 x 3, 512 to 512   3 x 3, 1          49, 43, 78       63, 77, 63
        4 x 4, 512 to 512   3 x 3, 1          130, 124, 96     131, 135, 125
        16 x 16, 32 to 32   3 x 3, 1          180, 185, 86     102, 115, 48
    """
    return kernel.shape[0] * kernel.shape[1] == 1 or min(x.shape[1:3]) <= 3


def _forward(x: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    if _small(x, kernel):
        return products.forward(x, kernel, strides, pads)
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=LAYOUT)


def _rest(x: Any, dy: Array, kernel: Any, strides: tuple[int, int], pads: Pads) -> list[int]:
    """Counts the last rows and columns of the padded input that are in no window."""
    sizes = zip(x.shape[1:3], dy.shape[1:3], kernel.shape[:2], strides, pads, strict=True)
    return [size + sum(pad) - k - (out - 1) * stride for size, out, k, stride, pad in sizes]


def _input_gradient(
    dy: Array, x: Any, kernel: Array, strides: tuple[int, int], pads: Pads
) -> Array:
    """Convolves dy, with ``stride - 1`` zeros between its entries, with the flipped filters."""
    if _small(x, kernel):
        return products.input_gradient(dy, x, kernel, strides, pads)
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


def _kernel_gradient(
    dy: Array, x: Array, kernel: Any, strides: tuple[int, int], pads: Pads
) -> Array:
    """Convolves the inputs with the gradient of the outputs.

    The gradient is a sum over the batch. So the batch takes the role of the input channels, the
    input channels take the role of the batch, and dy, dilated by the stride, takes the role of the
    filters.
    """
    if kernel.shape[0] * kernel.shape[1] == 1:
        return products.kernel_gradient(dy, x, kernel, strides, pads)
    rest = _rest(x, dy, kernel, strides, pads)
    # without the rows and columns in no window, the output has exactly the size of a filter
    back = [(low, high - r) for (low, high), r in zip(pads, rest, strict=True)]
    turned = jax.lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        back,
        rhs_dilation=strides,
        dimension_numbers=LAYOUT,
    )
    return turned.transpose(1, 2, 0, 3)


_convolve = bilinear("convolution", _forward, _input_gradient, _kernel_gradient)


def apply_kernel(x: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    """Applies :func:`convolve` on a CPU, and JAX's convolution on accelerators.

    The gradients that JAX derives are fast on accelerators.
    """
    if layout.loops():
        return convolve(x, kernel, strides, pads)
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=LAYOUT)


def add_bias(x: Array, bias: Array) -> Array:
    """Computes ``x + bias`` along the last axis.

    The gradient of the bias is computed as a matrix product with ones, since a sum over the leading
    axes costs more on a CPU than the convolution before it.
    """
    rows = jnp.ones((x.size // x.shape[-1], 1), bias.dtype)
    return x + _outer(rows, bias[None]).reshape(x.shape)


def _rows_gradient(dy: Array, rows: Any, bias: Array) -> Array:
    return dy @ bias.T


def _bias_gradient(dy: Array, rows: Array, bias: Any) -> Array:
    # a sum written as a product must not be rounded as products are by default on accelerators
    return jnp.matmul(rows.T, dy, precision="highest")


# rows @ bias with rows of ones, evaluated as a broadcast: only its gradient is a matrix product
_outer = bilinear(
    "broadcast_bias",
    lambda rows, bias: jnp.broadcast_to(bias, (len(rows), bias.shape[1])),
    _rows_gradient,
    _bias_gradient,
)


def max_pool(x: Array, size: int = 2) -> Array:
    """Computes the maximum over windows of ``size x size`` that do not overlap.

    Rows and columns beyond the last whole window are dropped. Inputs that are equal share the
    gradient. The maximum is computed from slices, because the gradient of ``lax.reduce_window``
    costs seven times as much on a CPU.

    Args:
        x: height and width on axes 1 and 2.
        size: height, width and step of a window.

    Raises:
        ValueError: if size < 1.

    Example:
        >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> jc.models.max_pool(x)[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """
    checks.count("size", size)
    for axis in (1, 2):
        whole = x.shape[axis] // size * size
        parts = (jax.lax.slice_in_dim(x, i, whole, size, axis) for i in range(size))
        x = functools.reduce(jnp.maximum, parts)
    return x


class Conv(nn.Module):
    """A two-dimensional ``flax.linen.Conv``, with the same parameters and initial values.

    Attributes:
        features: output channels O.
        kernel_size: height and width of a filter.
        strides: steps in height and width, or one number for both.
        padding: ``"SAME"``, ``"VALID"``, or zeros before and after in height and in width.
        use_bias: whether to add a bias.
        dtype: dtype of the computation; None for the common dtype of inputs and parameters.
        param_dtype: dtype of the parameters.
        kernel_init: initializer of the filters.
        bias_init: initializer of the bias.
        batch_last: whether inputs and outputs are ``[I, H, W, b]`` and ``[O, H', W', b]``, which is
            faster on a CPU for few channels. Strides must be 1.

    Example:
        >>> conv = jc.models.Conv(features=4, kernel_size=(3, 3), strides=2)
        >>> y, params = conv.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
        >>> y.shape, params["params"]["kernel"].shape
        ((1, 4, 4, 4), (3, 3, 3, 4))
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
        """Maps ``[b, H, W, I]`` to ``[b, H', W', O]``."""
        height, width = self.kernel_size
        shape = (height, width, x.shape[0 if self.batch_last else -1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, shape[-1:], self.param_dtype)
        down, across = (self.strides,) * 2 if isinstance(self.strides, int) else self.strides
        strides = (int(down), int(across))
        pads = self.padding
        if isinstance(pads, str):
            pads = jax.lax.padtype_to_pads(x.shape[1:3], (height, width), strides, pads)
        pads = tuple((int(low), int(high)) for low, high in pads)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.batch_last:
            # on accelerators too, so that the layout of the outputs does not depend on the backend
            if strides != (1, 1):
                raise ValueError(f"strides must be 1 with batch_last, got {strides}")
            x = planes.convolve(x, kernel, pads)
            return x if bias is None else x + bias[:, None, None, None]
        x = apply_kernel(x, kernel, strides, pads)
        return x if bias is None else add_bias(x, bias)
