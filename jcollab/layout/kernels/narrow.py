"""Convolution with few input or few output channels, as matrix products on a CPU."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.layout.kernels.shifts import Pads, shifts

Array = jax.Array
Strides = tuple[int, int]
# ratio of the channels of the two sides from which copying the side of few channels kh kw times
# costs less than the faster product saves
FEW = 8


def forward(x: Array, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Convolves ``[b, H, W, I]`` with ``[kh, kw, I, O]`` to ``[b, H', W', O]``, with stride 1.

    Only the side with few channels is shifted: few inputs before the product with all filters, or
    few outputs after it.
    """
    kh, kw, channels, features = kernel.shape
    if channels <= features:
        return _windows(x, kh, kw, pads) @ kernel.reshape(-1, features)
    # With few outputs, the product comes first: ``parts`` has the O outputs of each of the kh kw
    # filter positions, and each position's outputs are then shifted to their place. Zero padding
    # commutes with the product, since there is no bias.
    parts = x @ kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    own = (
        shifted[..., i * features : (i + 1) * features]
        for i, shifted in enumerate(shifts(parts, kh, kw, pads))
    )
    return functools.reduce(jnp.add, own)


def _windows(x: Array, kh: int, kw: int, pads: Pads) -> Array:
    """Collects the inputs of every window, ``[b, H', W', kh kw channels]``."""
    return jnp.concatenate(shifts(x, kh, kw, pads), -1)


def _back(kernel: Any, pads: Pads) -> Pads:
    """Returns the padding of the transposed convolution."""
    sides = zip(kernel.shape[:2], pads, strict=True)
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in sides)


def input_gradient(dy: Array, x: Any, kernel: Array, strides: Strides, pads: Pads) -> Array:
    """Computes a convolution of the same kind, with input and output channels exchanged."""
    return forward(dy, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), strides, _back(kernel, pads))


def kernel_gradient(dy: Array, x: Array, kernel: Any, strides: Strides, pads: Pads) -> Array:
    """Computes one product of the windows of the side with few channels and the other side."""
    kh, kw, channels, features = kernel.shape
    if channels <= features:
        seen = _windows(x, kh, kw, pads).reshape(-1, kh * kw * channels)
        return (seen.T @ dy.reshape(-1, features)).reshape(kernel.shape)
    # With few outputs, dy is shifted instead of x. Filter position (i, j) pairs input p with output
    # p - (i, j), so the positions of the windows of dy are in reverse order.
    seen = _windows(dy, kh, kw, _back(kernel, pads)).reshape(-1, kh * kw * features)
    turned = (x.reshape(-1, channels).T @ seen).reshape(channels, kh, kw, features)
    return jnp.flip(turned, (1, 2)).transpose(1, 2, 0, 3)
