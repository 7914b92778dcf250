"""Products of matrices whose gradients are fast on a CPU.

XLA's product ``x y^T`` of row-major matrices is up to ten times slower on a CPU than ``x y``, and
the gradient of the inputs of a dense layer has this form. It is cheaper to transpose one side.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.lax import optimization_barrier

from jcollab.layout.kernels.bilinear import bilinear

Array = jax.Array


def multiply(x: Array, y: Array, transposed: bool, precision: Any = None) -> Array:
    """Computes ``x y``, or ``x y^T``, with gradients that are fast on a CPU.

    Args:
        x: ``[..., K]``.
        y: ``[K, N]``, or ``[N, K]`` if ``transposed``.
        transposed: whether the product is ``x y^T``.
        precision: as for ``jax.lax.dot_general``.
    """
    return _multiply(x, y, transposed=transposed, precision=precision)


def _forward(x: Array, y: Array, transposed: bool, precision: Any) -> Array:
    return _with_transpose(x, y, precision) if transposed else _product(x, y, precision)


def _left_gradient(dz: Array, x: Any, y: Array, transposed: bool, precision: Any) -> Array:
    return _product(dz, y, precision) if transposed else _with_transpose(dz, y, precision)


def _right_gradient(dz: Array, x: Array, y: Any, transposed: bool, precision: Any) -> Array:
    left, right = (dz, x) if transposed else (x, dz)
    leading = tuple(range(x.ndim - 1))
    settings = (((leading, leading), ((), ())), precision)
    # XLA transposes the left factor, together with the operations that compute it, one number
    # after the other. If the right factor and the result are smaller, they are transposed instead.
    size = left.shape[-1] * right.shape[-1]
    if left.size <= right.size + size:
        return jax.lax.dot_general(left, right, *settings)
    return optimization_barrier(jax.lax.dot_general(right, left, *settings)).T


_multiply = bilinear("matmul", _forward, _left_gradient, _right_gradient)


def _product(x: Array, y: Array, precision: Any) -> Array:
    return jax.lax.dot_general(x, y, (((x.ndim - 1,), (0,)), ((), ())), precision)


def _with_transpose(x: Array, y: Array, precision: Any) -> Array:
    """Computes ``x y^T``.

    Measured in a loop, float32, two cores with AVX-512, in microseconds, for ``[M, K]`` and
    ``[N, K]``; a star marks the choice, which transposes fewer numbers:

        M, K, N            x y^T      (y (x^T))^T   x (y^T)
        20, 512, 3136      2330       980*          1310
        32, 512, 512       477        212*          384
        10, 384, 128       21         13*           16
        1024, 512, 128     603        907           591*
        256, 4096, 4096    117,000    28,000*       41,000
    """
    rows, (columns, depth) = x.reshape(-1, x.shape[-1]), y.shape
    # Without the barriers, XLA folds the transposes into the product again.
    if len(rows) * (depth + columns) < columns * depth:
        z = optimization_barrier(_product(y, optimization_barrier(rows.T), precision)).T
    else:
        z = _product(rows, optimization_barrier(y.T), precision)
    return z.reshape(*x.shape[:-1], columns)
