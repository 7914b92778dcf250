"""Convolution from few channels to many or from many to few, on a CPU: products of matrices."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

Array = jax.Array
Pads = tuple[tuple[int, int], ...]
FEW = 8  # times fewer channels on one side: shifting those costs less than it saves


def is_narrow(kernel: Array) -> bool:
    """Whether one side of the filters ``[kh, kw, I, O]`` has few channels for the other side."""
    return FEW * min(kernel.shape[2:]) <= max(kernel.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: Array, kernel: Array, pads: Pads) -> Array:
    """Convolution with stride 1, ``[b, H, W, I]`` with ``[kh, kw, I, O]`` to ``[b, H', W', O]``.

    Only the side of few channels is shifted: few inputs before the product with all filters, few
    outputs after it. The gradient for the inputs is such a product again, from the many channels
    to the few or back. Forward-mode differentiation is not defined.

    Args:
        x: inputs.
        kernel: filters.
        pads: zeros added before and after, in height and in width.
    """
    kh, kw, channels, features = kernel.shape
    if channels <= features:
        return _windows(x, kh, kw, pads) @ kernel.reshape(-1, features)
    parts = x @ kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    own = (
        shifted[..., i * features : (i + 1) * features]
        for i, shifted in enumerate(_shifts(parts, kh, kw, pads))
    )
    return functools.reduce(jnp.add, own)


def _shifts(x: Array, kh: int, kw: int, pads: Pads) -> list[Array]:
    """What each place of a filter sees of x, ``[b, H', W', channels]``."""
    sides = [(low, high, 0) for low, high in ((0, 0), *pads, (0, 0))]
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), sides)  # sides may be negative going back
    high, wide = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    return [padded[:, i : i + high, j : j + wide] for i in range(kh) for j in range(kw)]


def _windows(x: Array, kh: int, kw: int, pads: Pads) -> Array:
    """``[b, H', W', kh kw channels]``."""
    return jnp.concatenate(_shifts(x, kh, kw, pads), -1)


def _forward(x: Array, kernel: Array, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, pads), (x, kernel)


def _backward(pads: Pads, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    kh, kw, channels, features = kernel.shape
    back = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip((kh, kw), pads, strict=True))
    dx = convolve(dy, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), back)
    if channels <= features:
        seen = _windows(x, kh, kw, pads).reshape(-1, kh * kw * channels)
        return dx, (seen.T @ dy.reshape(-1, features)).reshape(kernel.shape)
    seen = _windows(dy, kh, kw, back).reshape(-1, kh * kw * features)
    turned = (x.reshape(-1, channels).T @ seen).reshape(channels, kh, kw, features)
    return dx, jnp.flip(turned, (1, 2)).transpose(1, 2, 0, 3)


convolve.defvjp(_forward, _backward)
