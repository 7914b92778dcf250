"""Convolution of images with the batch as the last axis, for layers of few channels on a CPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab.layout.kernels.bilinear import bilinear
from jcollab.layout.kernels.shifts import Pads, shifts

Array = jax.Array


def convolve(x: Array, kernel: Array, pads: Pads) -> Array:
    """Convolves ``[I, H, W, b]`` with ``[kh, kw, I, O]`` to ``[O, H', W', b]``, with stride 1.

    It is one product of the filters with all shifts of the images. In the usual layout
    ``[b, H, W, I]``, the vector instructions of a CPU run along the channels. If these are few,
    pooling and activations cost more than the arithmetic; here they run along the batch.

    Args:
        x: inputs, height and width on axes 1 and 2.
        kernel: filters.
        pads: zeros added before and after, in height and in width.
    """
    return _convolve(x, kernel, pads=pads)


def _rows(x: Array, kernel: Any, pads: Pads) -> tuple[Array, tuple[int, int]]:
    """Builds a row for each entry of a filter, ``[kh kw I, H' W' b]``; also returns H' and W'."""
    kh, kw, channels, _ = kernel.shape
    parts = shifts(x, kh, kw, pads)
    _, high, wide, _ = parts[0].shape
    return jnp.concatenate(parts).reshape(kh * kw * channels, -1), (high, wide)


def _forward(x: Array, kernel: Array, pads: Pads) -> Array:
    rows, out = _rows(x, kernel, pads)
    y = jnp.einsum("ko,kp->op", kernel.reshape(len(rows), -1), rows)
    return y.reshape(-1, *out, x.shape[-1])


def _input_gradient(dy: Array, x: Any, kernel: Array, pads: Pads) -> Array:
    kh, kw, channels, features = kernel.shape
    (top, bottom), (left, right) = pads
    _, height, width, batch = x.shape
    high, wide = dy.shape[1:3]
    flat, rows = dy.reshape(features, -1), kernel.reshape(-1, features)
    drows = jnp.einsum("ko,op->kp", rows, flat).reshape(kh, kw, channels, high, wide, -1)
    # accumulated in the padded image, whose border is then cut off
    dx = jnp.zeros((channels, height + top + bottom, width + left + right, batch), dy.dtype)
    for i in range(kh):
        for j in range(kw):
            dx = dx.at[:, i : i + high, j : j + wide].add(drows[i, j])
    return dx[:, top : top + height, left : left + width]


def _kernel_gradient(dy: Array, x: Array, kernel: Any, pads: Pads) -> Array:
    rows, _ = _rows(x, kernel, pads)
    return jnp.einsum("kp,op->ko", rows, dy.reshape(dy.shape[0], -1)).reshape(kernel.shape)


_convolve = bilinear("planes_convolution", _forward, _input_gradient, _kernel_gradient)
