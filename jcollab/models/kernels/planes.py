"""Convolution of images whose batch comes last, for layers of few channels on a CPU."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

Array = jax.Array
Pads = tuple[tuple[int, int], ...]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: Array, kernel: Array, pads: Pads) -> Array:
    """Convolution with stride 1, ``[I, H, W, b]`` with ``[kh, kw, I, O]`` to ``[O, H', W', b]``.

    One product of the filters with all shifts of the images. With few channels, pooling and
    activations in the usual layout ``[b, H, W, I]`` have little to vectorise over, and cost more
    than the arithmetic; here they run along the batch. Forward-mode differentiation is not
    defined.

    Args:
        x: inputs, height and width on axes 1 and 2.
        kernel: filters.
        pads: zeros added before and after, in height and in width.
    """
    return _forward(x, kernel, pads)[0]


def _shifts(x: Array, kernel: Array, pads: Pads) -> tuple[Array, tuple[int, int]]:
    """Rows for every height, width and channel of a filter, ``[kh kw I, H' W' b]``, and H', W'."""
    kh, kw = kernel.shape[:2]
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    high, wide = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    parts = [padded[:, i : i + high, j : j + wide] for i in range(kh) for j in range(kw)]
    return jnp.concatenate(parts).reshape(len(parts) * x.shape[0], -1), (high, wide)


def _forward(x: Array, kernel: Array, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    rows, out = _shifts(x, kernel, pads)
    y = jnp.einsum("ko,kp->op", kernel.reshape(len(rows), -1), rows)
    return y.reshape(-1, *out, x.shape[-1]), (x, kernel)


def _backward(pads: Pads, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    rows, (high, wide) = _shifts(x, kernel, pads)  # again: reading them back would cost more
    flat = dy.reshape(dy.shape[0], -1)
    dkernel = jnp.einsum("kp,op->ko", rows, flat).reshape(kernel.shape)
    kh, kw, channels, _ = kernel.shape
    drows = jnp.einsum("ko,op->kp", kernel.reshape(len(rows), -1), flat)
    drows = drows.reshape(kh, kw, channels, high, wide, -1)
    (top, _), (left, _) = pads
    dx = jnp.pad(jnp.zeros_like(x), ((0, 0), *pads, (0, 0)))
    for i in range(kh):
        for j in range(kw):
            dx = dx.at[:, i : i + high, j : j + wide].add(drows[i, j])
    return dx[:, top : top + x.shape[1], left : left + x.shape[2]], dkernel


convolve.defvjp(_forward, _backward)
