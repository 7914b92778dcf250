"""Convolution with gradients that are fast in a loop over clients on a CPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import jax

from jcollab import layout
from jcollab.layout.kernels import direct, narrow, products
from jcollab.layout.kernels.bilinear import bilinear
from jcollab.layout.kernels.shifts import Pads

Array = jax.Array
Strides = tuple[int, int]


def convolve(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Convolves ``[b, H, W, I]`` with ``[kh, kw, I, O]`` in two dimensions, for loops on a CPU.

    The value and both gradients are each computed in the form that is fastest for the shape, see
    :func:`forms`.

    Args:
        x: inputs.
        kernel: filters.
        strides: steps in height and width.
        pads: zeros added before and after, in height and in width.
    """
    return _convolve(x, kernel, strides=strides, pads=pads)


class Forms(NamedTuple):
    """The modules that compute a convolution and its two gradients."""

    forward: ModuleType
    input_gradient: ModuleType
    kernel_gradient: ModuleType


def forms(x: Any, kernel: Any, strides: Strides) -> Forms:
    """Returns the fastest forms of a convolution and of its gradients on a CPU.

    They are :mod:`direct`, :mod:`products` (of matrices, one for each row of a filter) and
    :mod:`narrow` (for few channels on one side). Measured GFLOP/s in a loop with
    :func:`jcollab.layout.compiler_options`, batch 32, float32, two cores with AVX-512 (matrix
    product: 420), for the value, the gradient of the inputs and the gradient of the filters; a star
    marks the choice:

        image, channels      filter, stride   direct             products           narrow
        28 x 28, 1 to 32     5 x 5, 1         65, 27, 148*       83, 162, 85        159*, 132*, 58
        14 x 14, 32 to 64    5 x 5, 1         402*, 362*, 374*   332, 303, 248      123, 111, 111
        32 x 32, 3 to 64     3 x 3, 1         139, 44, 145*      115, 117, 104      300*, 119*, 115
        32 x 32, 16 to 16    3 x 3, 1         197*, 200*, 130*   130, 135, 79       50, 41, 35
        16 x 16, 32 to 32    3 x 3, 1         342*, 349*, 173*   255, 285, 168      229, 235, 103
        32 x 32, 64 to 64    3 x 3, 1         386*, 391*, 276*   139, 136, 104      110, 118, 85
        16 x 16, 128 to 128  3 x 3, 1         454*, 445*, 365*   206, 383, 166
        8 x 8, 256 to 256    3 x 3, 1         453*, 428*, 421*   384, 393, 291
        4 x 4, 512 to 512    3 x 3, 1         448*, 315*, 447*   391, 228, 344
        2 x 2, 512 to 512    3 x 3, 1         3, 3, 400*         331*, 91*, 307
        32 x 32, 16 to 32    3 x 3, 2         137*, 110, 98*     94, 219*, 128
        32 x 32, 64 to 128   3 x 3, 2         369*, 221, 200*    249, 267*, 174
        16 x 16, 128 to 256  3 x 3, 2         415*, 317, 277*    311, 361*, 261
    """
    (kh, kw, channels, features), strided = kernel.shape, max(strides) > 1
    if kh * kw == 1:
        return Forms(products, products, products)
    if min(x.shape[1:3]) <= 3:  # the fast kernel is made for large images
        return Forms(products, products, direct)
    if strided:  # the direct gradient of the inputs multiplies zeros
        return Forms(direct, products, direct)
    few, many = sorted((channels, features))
    if narrow.FEW * few <= many or (few <= 4 and many >= 16):
        return Forms(narrow, narrow, direct if channels < features else narrow)
    return Forms(direct, direct, direct)


def _forward(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    return forms(x, kernel, strides).forward.forward(x, kernel, strides, pads)


def _input_gradient(dy: Array, x: Any, kernel: Array, strides: Strides, pads: Pads) -> Array:
    form = forms(x, kernel, strides).input_gradient
    return form.input_gradient(dy, x, kernel, strides, pads)


def _kernel_gradient(dy: Array, x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    form = forms(x, kernel, strides).kernel_gradient
    return form.kernel_gradient(dy, x, kernel, strides, pads)


_convolve = bilinear("convolution", _forward, _input_gradient, _kernel_gradient)


def apply_kernel(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Applies :func:`convolve` on a CPU, and JAX's convolution on accelerators.

    The gradients that JAX derives are fast on accelerators.
    """
    if layout.loops():
        return convolve(x, kernel, strides, pads)
    return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=direct.LAYOUT)
