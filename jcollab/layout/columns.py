"""Functions of stacked arrays that treat coordinates separately, computed in place in the cache."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.layout.chunks import loops

# The blocks of all arrays together: about the cache of a core. Larger ones leave it, and the loop
# itself takes time for smaller ones.
BLOCK_BYTES = 1 << 21
# Fewer coordinates of a client than this are too short a piece of memory to read at full speed.
NARROWEST = 256


def by_columns(fn: Callable, x: jax.Array, *shared: Any) -> jax.Array:
    """Computes ``fn(x, *shared)`` block by block of coordinates, in place, on a CPU.

    A function that reads the rows of other clients cannot write its result over its argument: in a
    loop over rounds it writes all of it elsewhere, and copies it back. A block of coordinates is
    read as a whole before it is written, and is still in the cache when its rows are read again.

    Args:
        fn: ``fn(x, *shared) -> x``, which treats coordinates separately, and refers to no traced
            values other than its arguments.
        x: ``[n, ...]``.
        *shared: pytrees without coordinates, which every block gets as they are.

    Returns:
        ``fn(x, *shared)``, of the shape and dtype of x.

    Example:
        >>> roll = lambda x, weight: weight * jnp.roll(x, 1, axis=0)
        >>> jc.layout.by_columns(roll, jnp.array([[1.0], [2.0]]), 0.5).tolist()
        [[1.0], [0.5]]
    """
    size = math.prod(x.shape[1:])
    width = BLOCK_BYTES // (x.shape[0] * x.dtype.itemsize) // 16 * 16
    if not loops() or width < NARROWEST or size < 2 * width:
        return fn(x, *shared)
    return _in_place(fn, width, x.reshape(-1, size), shared).reshape(x.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _in_place(fn: Callable, width: int, x: jax.Array, shared: tuple) -> jax.Array:
    size = x.shape[1]
    overlap = -size % width  # the last block shares so many coordinates with the one before

    def replace(i: Any, x: jax.Array) -> jax.Array:
        block = jax.lax.dynamic_slice_in_dim(x, i * width, width, 1)  # clamped to the last one
        fresh = fn(block, *shared)
        if overlap:  # shared coordinates are replaced already
            fresh = jnp.where((i < size // width) | (jnp.arange(width) >= overlap), fresh, block)
        return jax.lax.dynamic_update_slice_in_dim(x, fresh, i * width, 1)

    return jax.lax.fori_loop(0, -(-size // width), replace, x)


# The derivative of a loop that writes in place would write all of x once for each block.
@_in_place.defjvp
def _derivative(fn: Callable, width: int, primals: tuple, tangents: tuple) -> tuple:
    return jax.jvp(lambda x, shared: fn(x, *shared), primals, tangents)
