"""Pooling over windows that do not overlap, computed from slices.

On a CPU, the gradient of ``jax.lax.reduce_window`` costs seven times as much as that of slices.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from jcollab import checks

Array = jax.Array


def max_pool(x: Array, size: int = 2) -> Array:
    """Computes the maximum over windows of ``size x size`` that do not overlap.

    Rows and columns beyond the last whole window are dropped. Of equal inputs, the first one gets
    the gradient, as in ``flax.linen.max_pool``.

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
    return maximum(x, (1, size, size, *(1,) * (x.ndim - 3)))


def maximum(x: Array, window: Sequence[int]) -> Array:
    """Computes the maximum over windows with one size for each axis; the first of equals counts."""

    def larger(first: Array, second: Array) -> Array:
        # a NaN is kept, as by jnp.maximum
        return jnp.where((first >= second) | jnp.isnan(first), first, second)

    return functools.reduce(larger, _slices(x, window))


def total(x: Array, window: Sequence[int]) -> Array:
    """Computes the sum over windows with one size for each axis."""
    return functools.reduce(jnp.add, _slices(x, window))


def _slices(x: Array, window: Sequence[int]) -> Iterator[Array]:
    """Yields the entries at each place of a window, in row-major order."""
    ends = [size // step * step for size, step in zip(x.shape, window, strict=True)]
    for place in itertools.product(*map(range, window)):
        yield jax.lax.slice(x, place, ends, window)
