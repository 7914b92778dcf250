"""Optimizers for large tables that read and write only the rows of a batch.

A step reads a few rows, sums the gradients of rows that occur more than once, and updates the rows
and their moments in place. Neither its time nor its memory grows with the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.layout.devices import active_devices

PyTree = Any
Array = jax.Array
Rate = float | Array | Callable[[Array], Array]
MARKED_PER_ID = 64  # rows per id up to which an array of V marks is cheaper than sorting the ids


class RowOptimizer(NamedTuple):
    """An optimizer that updates some rows of a table.

    Attributes:
        init: ``init(table [V, ...]) -> state`` with leaves that lead with ``[V]``.
        update: ``update(grads [u, ...], state, step) -> (updates, state)`` for u rows of the
            state; ``step`` counts the steps of the whole table, from 1.
    """

    init: Callable[[Array], PyTree]
    update: Callable[[Array, PyTree, Array], tuple[Array, PyTree]]


def adam(
    learning_rate: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, epsilon: float = 1e-8
) -> RowOptimizer:
    """Builds Adam for the rows of a batch, as SparseAdam of PyTorch.

        m = m + (1 - b1) (g - m),    v = v + (1 - b2) (g^2 - v)
        u = -gamma sqrt(1 - b2^t) / (1 - b1^t)  m / (sqrt(v) + epsilon)

    Moments of rows outside the batch do not decay, and t counts the steps of the whole table.

    Args:
        learning_rate: gamma > 0, or a function of the number of finished steps.
        b1: decay of the mean, in [0, 1).
        b2: decay of the square, in [0, 1).
        epsilon: added to the denominator, positive.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> optimizer = jc.local.row_sparse.adam(0.1)
        >>> state, update = optimizer.init(jnp.zeros((1, 2))), jax.jit(optimizer.update)
        >>> updates, state = update(jnp.array([[2.0, -3.0]]), state, jnp.array(1))
        >>> [round(float(u), 3) for u in updates[0]]  # the first update has the size gamma
        [-0.1, 0.1]

    Source: Kingma and Ba 2015, arXiv 1412.6980.
    """
    checks.number("b1", b1, at_least=0, below=1)
    checks.number("b2", b2, at_least=0, below=1)
    checks.number("epsilon", epsilon, above=0)
    _check_rate(learning_rate)

    def init(table: Array) -> tuple[Array, Array]:
        return jnp.zeros_like(table), jnp.zeros_like(table)

    def update(grads: Array, state: tuple, step: Array) -> tuple[Array, tuple]:
        mean, square = state
        mean = mean + (1 - b1) * (grads - mean)
        square = square + (1 - b2) * (grads * grads - square)
        t = step.astype(grads.dtype)
        # 1 - b^t cancels in float32 for b near 1; expm1 and log1p keep its digits.
        left1, left2 = (-jnp.expm1(t * jnp.log1p(jnp.asarray(b - 1, t.dtype))) for b in (b1, b2))
        scale = _rate(learning_rate, step) * jnp.sqrt(left2) / left1
        updates = -scale.astype(grads.dtype) * mean / (jnp.sqrt(square) + epsilon)
        return updates, (mean, square)

    return RowOptimizer(init, update)


def sgd(learning_rate: Rate) -> RowOptimizer:
    """Builds gradient descent: ``u = -gamma g``.

    Args:
        learning_rate: gamma > 0, or a function of the number of finished steps.

    Raises:
        ValueError: if the learning rate is not positive.

    Example:
        >>> optimizer = jc.local.row_sparse.sgd(0.5)
        >>> optimizer.update(jnp.array([[2.0, -3.0]]), (), jnp.array(1))[0].tolist()
        [[-1.0, 1.5]]
    """
    _check_rate(learning_rate)

    def update(grads: Array, state: PyTree, step: Array) -> tuple[Array, PyTree]:
        rate = jnp.asarray(_rate(learning_rate, step), grads.dtype)
        return -rate * grads, state

    return RowOptimizer(lambda table: (), update)


class Rows(NamedTuple):
    """The distinct rows of a batch.

    Attributes:
        rows: the distinct rows in any order, padded with V, int32 ``[u]``.
        places: index in ``rows`` of each id, int32 ``[r]``; u for ids outside of 0..V-1.
    """

    rows: Array
    places: Array


def distinct(ids: Array, num_rows: int) -> Rows:
    """Returns the distinct rows among r ids, with ``u = min(r, V)`` slots.

    Args:
        ids: int ``[...]``, r in all; those outside of 0..V-1 are ignored.
        num_rows: number V of rows of the table.

    Example:
        >>> distinct = jax.jit(jc.local.row_sparse.distinct, static_argnums=1)
        >>> distinct(jnp.array([4, 1, 4]), 10).places.tolist()
        [1, 0, 1]
    """
    ids = jnp.ravel(jnp.asarray(ids, jnp.int32))
    real = (ids >= 0) & (ids < num_rows)
    ids = jnp.where(real, ids, num_rows)
    count = jnp.arange(len(ids), dtype=jnp.int32)
    # Each id gets `first`, the position of one id with the same row, which represents them all.
    if num_rows <= MARKED_PER_ID * len(ids):
        # Every id writes its position to its row; which of several writes remains does not matter.
        first = jnp.zeros(num_rows, jnp.int32).at[ids].set(count, mode="drop")[ids]
    else:
        # Equal ids are neighbors after sorting, and the first of a group represents it. The time
        # does not depend on V.
        order = jnp.argsort(ids)
        starts = jnp.concatenate([jnp.ones(1, bool), jnp.diff(ids[order]) > 0])
        group = jnp.cumsum(starts) - 1
        first = (
            jnp.zeros_like(ids).at[order].set(order[jnp.nonzero(starts, size=len(ids))[0][group]])
        )
    chosen = (first == count) & real
    # The number of distinct rows is traced, so rows have a static length and unused slots contain
    # V.
    most = min(len(ids), num_rows)
    rank = jnp.cumsum(chosen, dtype=jnp.int32) - 1
    rows = jnp.full(most, num_rows, jnp.int32)
    rows = rows.at[jnp.where(chosen, rank, most)].set(ids, mode="drop")
    return Rows(rows, jnp.where(real, rank[first], most))


def take(table: Array, ids: Array) -> Array:
    """Returns rows of a table, and 0 for ids outside of 0..V-1.

    Example:
        >>> jc.local.row_sparse.take(jnp.array([[1.0], [2.0]]), jnp.array([1, 5])).tolist()
        [[2.0], [0.0]]
    """
    ids = jnp.where(ids < 0, len(table), ids)  # negative indices would count from the end
    return table.at[ids].get(mode="fill", fill_value=0)


def put(table: Array, rows: Array, values: Array) -> Array:
    """Returns a table with new values in some rows; ids outside of 0..V-1 are ignored.

    Example:
        >>> table, rows = jnp.zeros((3, 1)), jnp.array([2, 7])
        >>> jc.local.row_sparse.put(table, rows, jnp.ones((2, 1))).tolist()
        [[0.0], [0.0], [1.0]]
    """
    rows = jnp.where(rows < 0, len(table), rows)  # negative indices would count from the end
    return table.at[rows].set(values, mode="drop")


def take_each(tables: Array, rows: Array, *, filled: bool = True) -> Array:
    """Returns rows of the tables of n clients, ``[n, u, ...]``.

    Args:
        tables: tables ``[n, V, ...]``.
        rows: row indices of each client, int ``[n, u]``.
        filled: whether ids outside of 0..V-1 give 0; otherwise they give any row, which is faster.

    Example:
        >>> tables, rows = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1], [0]])
        >>> jc.local.row_sparse.take_each(tables, rows).tolist()
        [[2.0], [3.0]]
    """
    look = take if filled else lambda table, ids: table.at[ids].get(mode="clip")
    flat = _flat(tables, rows)
    if flat is None:
        return jax.vmap(look)(tables, rows)
    return look(*flat).reshape(*rows.shape, *tables.shape[2:])


def put_each(tables: Array, rows: Array, values: Array) -> Array:
    """Returns the tables of n clients with new values in some rows, ``[n, V, ...]``.

    Args:
        tables: tables ``[n, V, ...]``.
        rows: row indices of each client, int ``[n, u]``; ids outside of 0..V-1 are ignored.
        values: new values ``[n, u, ...]``.

    Example:
        >>> tables, rows = jnp.zeros((2, 2)), jnp.array([[1], [0]])
        >>> jc.local.row_sparse.put_each(tables, rows, jnp.ones((2, 1))).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    flat = _flat(tables, rows)
    if flat is None:
        return jax.vmap(put)(tables, rows, values)
    table, places = flat
    return put(table, places, values.reshape(-1, *tables.shape[2:])).reshape(tables.shape)


def _flat(tables: Array, rows: Array) -> tuple[Array, Array] | None:
    """Flattens the tables to one and converts the row indices.

    Returns None if clients are on several devices, or if the indices exceed int32.
    """
    # One gather from a flat table is 2.5 times as fast on a CPU as a batched gather. With
    # clients on several devices, it would read across devices.
    n, size = tables.shape[:2]
    if active_devices() > 1 or n * size > jnp.iinfo(jnp.int32).max:
        return None
    inside = (rows >= 0) & (rows < size)
    places = jnp.where(inside, rows + size * jnp.arange(n, dtype=rows.dtype)[:, None], n * size)
    return tables.reshape(n * size, *tables.shape[2:]), places.ravel()


def apply(
    optimizer: RowOptimizer, table: Array, state: PyTree, ids: Array, grads: Array, step: Array
) -> tuple[Array, PyTree]:
    """Takes one optimizer step for the rows that a batch uses.

    Args:
        optimizer: :func:`adam` or :func:`sgd`.
        table: ``[V, ...]``.
        state: state of the optimizer, leaves ``[V, ...]``.
        ids: rows that the batch uses, int ``[...]``; gradients of repeated rows are summed.
        grads: gradient of each of them, ``[*ids.shape, ...]``.
        step: index of this step of the table, from 1, int ``[]``.

    Returns:
        The new table and state, in which other rows are unchanged.

    Raises:
        ValueError: if shapes do not match.

    Example:
        >>> table, optimizer = jnp.ones((5, 2)), jc.local.row_sparse.sgd(0.5)
        >>> apply = jax.jit(jc.local.row_sparse.apply, static_argnums=0)
        >>> new, _ = apply(optimizer, table, (), jnp.array([3, 3]), jnp.ones((2, 2)), 1)
        >>> new[:, 0].tolist()
        [1.0, 1.0, 1.0, 0.0, 1.0]
    """
    if grads.shape != (*jnp.shape(ids), *table.shape[1:]):
        raise ValueError(
            f"grads must be [*ids.shape, *table.shape[1:]] = "
            f"{(*jnp.shape(ids), *table.shape[1:])}, got {grads.shape}"
        )
    # Ids outside of the table have the place u, which segment_sum and put drop. With sums of
    # repeated rows first, the moments of a row are updated once, as with a dense gradient.
    unique = distinct(ids, len(table))
    total = jax.ops.segment_sum(
        grads.reshape(-1, *table.shape[1:]), unique.places, len(unique.rows)
    )
    own = jax.tree.map(lambda leaf: take(leaf, unique.rows), (table, state))
    updates, fresh = optimizer.update(total, own[1], jnp.asarray(step))
    return (
        put(table, unique.rows, own[0] + updates),
        jax.tree.map(lambda leaf, new: put(leaf, unique.rows, new), state, fresh),
    )


def _rate(rate: Rate, step: Array) -> Array:
    return jnp.asarray(rate(step - 1) if callable(rate) else rate)


def _check_rate(rate: Rate) -> None:
    if not callable(rate):
        checks.number("learning_rate", rate, above=0)
