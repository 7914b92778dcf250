"""Convolutions as matrix products, for small images and filters of one pixel on a CPU.

The products are summed over the rows of a filter. One product with all kh kw positions at once
would copy the input kh kw times; a product for each row copies it only kw times.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.layout.kernels.shifts import Pads

Array = jax.Array
Strides = tuple[int, int]


def forward(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Convolves ``[b, H, W, I]`` with ``[kh, kw, I, O]``, by one product for each filter row."""
    kh, _, _, features = kernel.shape
    rows = _rows(x, kernel, strides, pads)
    out = 1 + (rows.shape[1] - kh) // strides[0]
    terms = (_of_row(rows, i, out, strides[0]) @ kernel[i].reshape(-1, features) for i in range(kh))
    return functools.reduce(jnp.add, terms)


def input_gradient(dy: Array, x: Any, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Computes one product with all filters, and adds its parts at the positions of the windows.

    ``parts[..., (i kw + j) I + c]`` is the contribution of output (r, s) to input
    ``(r stride + i, s stride + j)`` of channel c.
    """
    kh, kw, channels, features = kernel.shape
    high, wide = dy.shape[1:3]
    height, width = (size + sum(pad) for size, pad in zip(x.shape[1:3], pads, strict=True))
    parts = dy @ kernel.reshape(-1, features).T
    zero = jnp.zeros((), parts.dtype)

    def placed(i: int, j: int) -> Array:
        # ``lax.pad`` moves a part by (i, j) and puts stride - 1 zeros between its entries; an
        # addition by index would be a scatter.
        place = (i * kw + j) * channels
        rows = (i, height - i - (high - 1) * strides[0] - 1, strides[0] - 1)
        columns = (j, width - j - (wide - 1) * strides[1] - 1, strides[1] - 1)
        sides = [(0, 0, 0), rows, columns, (0, 0, 0)]
        return jax.lax.pad(parts[..., place : place + channels], zero, sides)

    total = functools.reduce(jnp.add, (placed(i, j) for i in range(kh) for j in range(kw)))
    sides = [(-low, -high, 0) for low, high in ((0, 0), *pads, (0, 0))]
    return jax.lax.pad(total, zero, sides)


def kernel_gradient(dy: Array, x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    """Computes, for each filter row, the product of its inputs and the gradient of the output."""
    kh = kernel.shape[0]
    rows, flat = _rows(x, kernel, strides, pads), dy.reshape(-1, dy.shape[-1])
    seen = (_of_row(rows, i, dy.shape[1], strides[0]) for i in range(kh))
    return jnp.stack([s.reshape(len(flat), -1).T @ flat for s in seen]).reshape(kernel.shape)


def _rows(x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    """Collects the inputs of all filter columns from every padded row, ``[b, rows, W', kw I]``."""
    kw = kernel.shape[1]
    sides = [(low, high, 0) for low, high in ((0, 0), *pads, (0, 0))]
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), sides)  # negative ones cut off
    last = (padded.shape[2] - kw) // strides[1] * strides[1]
    shifted = [padded[:, :, j : j + last + 1 : strides[1]] for j in range(kw)]
    return shifted[0] if kw == 1 else jnp.concatenate(shifted, -1)


def _of_row(rows: Array, i: int, out: int, stride: int) -> Array:
    """Selects the rows ``[b, out, W', kw I]`` that filter row i is applied to."""
    return rows[:, i : i + (out - 1) * stride + 1 : stride]
