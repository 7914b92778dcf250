"""Shifted copies of images, with which a convolution becomes a matrix product."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array
Pads = tuple[tuple[int, int], ...]


def shifts(x: Array, kh: int, kw: int, pads: Pads) -> list[Array]:
    """Returns the part of x that each position of a filter is multiplied with.

    Args:
        x: ``[first, H, W, last]``.
        kh: height of the filter.
        kw: width of the filter.
        pads: zeros added before and after, in height and in width; negative numbers crop.

    Returns:
        kh kw arrays ``[first, H', W', last]``, for the positions of the filter row by row.
    """
    # ``lax.pad`` and not ``jnp.pad``, which does not allow negative padding
    sides = [(low, high, 0) for low, high in ((0, 0), *pads, (0, 0))]
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), sides)
    high, wide = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    return [padded[:, i : i + high, j : j + wide] for i in range(kh) for j in range(kw)]
