"""Inputs as the places of a filter meet them, from which convolutions become matrix products."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array
Pads = tuple[tuple[int, int], ...]


def shifts(x: Array, kh: int, kw: int, pads: Pads) -> list[Array]:
    """The part of x at each place of a filter, ``[first, H', W', last]``, row by row.

    Args:
        x: ``[first, H, W, last]``.
        kh: height of the filter.
        kw: its width.
        pads: zeros added before and after, in height and in width; negative ones cut off.
    """
    sides = [(low, high, 0) for low, high in ((0, 0), *pads, (0, 0))]
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), sides)
    high, wide = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    return [padded[:, i : i + high, j : j + wide] for i in range(kh) for j in range(kw)]
