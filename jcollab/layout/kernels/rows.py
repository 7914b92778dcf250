"""Biases and other rows, with a gradient that is fast in a loop over clients on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.layout.kernels.bilinear import bilinear

Array = jax.Array


def add_bias(x: Array, bias: Array) -> Array:
    """Computes ``x + bias``; the bias has the last axes of x."""
    return combine(jax.lax.add, x, bias.reshape((1,) * (x.ndim - bias.ndim) + bias.shape))


def combine(operation: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """Computes ``operation(x, y)`` entry by entry; the leading axes of one of them have length 1.

    The gradient of the smaller one is computed as a matrix product with ones. XLA would compute the
    sum over the leading axes together with the operations before it, one number after the other,
    which costs more than a convolution.
    """
    return operation(_spread(x, y.shape), _spread(y, x.shape))


def _spread(x: Array, shape: tuple[int, ...]) -> Array:
    if x.size >= math.prod(shape):
        return x
    rows = jnp.ones((math.prod(shape) // x.size, 1), x.dtype)
    return _outer(rows, x.reshape(1, -1)).reshape(shape)


def _rows_gradient(dy: Array, rows: Any, row: Array) -> Array:
    return dy @ row.T


def _row_gradient(dy: Array, rows: Array, row: Any) -> Array:
    # a sum written as a product must not be rounded as products are by default on accelerators
    return jnp.matmul(rows.T, dy, precision="highest")


# rows @ row with rows of ones, evaluated as a broadcast: only its gradient is a matrix product
_outer = bilinear(
    "broadcast_row",
    lambda rows, row: jnp.broadcast_to(row, (len(rows), row.shape[1])),
    _rows_gradient,
    _row_gradient,
)
