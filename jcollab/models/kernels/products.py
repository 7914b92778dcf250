"""Convolutions as products of matrices, for small images and filters of one pixel on a CPU."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.models.kernels.shifts import Pads

Array = jax.Array
Strides = tuple[int, int]


def forward(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """``[b, H, W, I]`` with ``[kh, kw, I, O]`` to ``[b, H', W', O]``, one product a filter row."""
    kh, _, _, features = kernel.shape
    rows = _rows(x, kernel, strides, pads)
    out = 1 + (rows.shape[1] - kh) // strides[0]
    terms = (_of_row(rows, i, out, strides[0]) @ kernel[i].reshape(-1, features) for i in range(kh))
    return functools.reduce(jnp.add, terms)


def input_gradient(dy: Array, x: Any, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """One product with all filters, whose parts are added where their windows were."""
    kh, kw, channels, features = kernel.shape
    high, wide = dy.shape[1:3]
    height, width = (size + sum(pad) for size, pad in zip(x.shape[1:3], pads, strict=True))
    parts = dy @ kernel.reshape(-1, features).T
    zero = jnp.zeros((), parts.dtype)

    def placed(i: int, j: int) -> Array:
        place = (i * kw + j) * channels
        rows = (i, height - i - (high - 1) * strides[0] - 1, strides[0] - 1)
        columns = (j, width - j - (wide - 1) * strides[1] - 1, strides[1] - 1)
        sides = [(0, 0, 0), rows, columns, (0, 0, 0)]
        return jax.lax.pad(parts[..., place : place + channels], zero, sides)

    total = functools.reduce(jnp.add, (placed(i, j) for i in range(kh) for j in range(kw)))
    (top, bottom), (left, right) = pads
    return total[:, top : height - bottom, left : width - right]


def kernel_gradient(dy: Array, x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    """One product a filter row, of what the row sees and of the gradient."""
    kh = kernel.shape[0]
    rows, flat = _rows(x, kernel, strides, pads), dy.reshape(-1, dy.shape[-1])
    seen = (_of_row(rows, i, dy.shape[1], strides[0]) for i in range(kh))
    return jnp.stack([s.reshape(len(flat), -1).T @ flat for s in seen]).reshape(kernel.shape)


def _rows(x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    """What the columns of a filter see of every padded row, ``[b, rows, W', kw I]``."""
    kw = kernel.shape[1]
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    last = (padded.shape[2] - kw) // strides[1] * strides[1]
    shifted = [padded[:, :, j : j + last + 1 : strides[1]] for j in range(kw)]
    return shifted[0] if kw == 1 else jnp.concatenate(shifted, -1)


def _of_row(rows: Array, i: int, out: int, stride: int) -> Array:
    return rows[:, i : i + (out - 1) * stride + 1 : stride]
