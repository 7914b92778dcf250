"""Exchanges over the edges of a graph, in which only edges between devices move data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jcollab.layout.devices import CLIENTS, active_devices, pmapped, sharded

PyTree = Any


def over_neighbors(fn: Callable, table: np.ndarray, rows_per_client: int = 1) -> Callable:
    """Lifts a function that reads rows of other clients; only rows that cross devices move.

    Args:
        fn: ``fn(pool, table, *args) -> [m, ...]`` for m clients. ``pool`` contains the rows that
            these clients read; their own rows come first, in order. ``table``, int ``[m, K]``,
            contains the positions in the pool of the entries of the full table.
        table: int ``[n, K]``, the rows that client i reads, known when the program is traced.
        rows_per_client: r, number of rows of x that belong to each client.

    Returns:
        ``mapped(x, table, *args)``, where x is ``[n r, ...]`` and all other arguments lead with the
        client axis ``[n, ...]``. On one device it equals ``fn(x, table, *args)``. Inside
        :func:`use`, each device sends every other one the rows that it needs, once.

    Example:
        >>> table = np.array([[1, 2], [2, 0], [0, 1]])
        >>> read = jc.layout.over_neighbors(lambda pool, places: pool[places].sum(1), table)
        >>> read(jnp.array([1.0, 2.0, 3.0]), jnp.asarray(table)).tolist()
        [5.0, 4.0, 3.0]
    """

    def mapped(x: jax.Array, index_table: jax.Array, *args: PyTree) -> PyTree:
        devices, n = active_devices(), len(table)
        # Under pmap all rows are gathered already. If devices do not divide n, blocks of clients
        # differ in size, which shard_map does not allow: the compiler inserts an all-gather.
        if devices == 1 or n % devices or pmapped():
            return fn(x, index_table, *args)
        shifts, rows, local = route(table, devices, rows_per_client)

        def each(x: jax.Array, rows: list, local: jax.Array, args: tuple) -> PyTree:
            return fn(exchange_rows(x, rows, shifts, devices), local, *args)

        split = P(CLIENTS)
        return sharded(each, (split,) * 4, split)(x, rows, local, args)

    return mapped


def exchange_rows(x: PyTree, rows: list[jax.Array], shifts: list[int], devices: int) -> PyTree:
    """Builds the pool of a device: its own rows, then those that others send, see :func:`route`."""

    def one(leaf: jax.Array) -> jax.Array:
        pool = [leaf]
        for shift, send in zip(shifts, rows, strict=True):
            to = [(q, (q + shift) % devices) for q in range(devices)]
            pool.append(jax.lax.ppermute(leaf[send[0]], CLIENTS, to))
        return jnp.concatenate(pool)

    return jax.tree.map(one, x)


def route(
    table: np.ndarray, devices: int, rows_per_client: int = 1
) -> tuple[list[int], list[jax.Array], jax.Array]:
    """Plans an exchange: the rows that each device sends to the device ``shift`` places further.

    Args:
        table: as for :func:`over_neighbors`.
        devices: number of devices, which divides n.
        rows_per_client: as for :func:`over_neighbors`.

    Returns:
        The shifts in which rows move; for each of them the rows to send, int32
        ``[devices, width]``, as indices on the sender, padded with 0; and the table with positions
        in the pools, int32 ``[n, K]``.
    """
    clients = len(table) // devices
    size = clients * rows_per_client
    owner, reader = table // size, np.arange(len(table))[:, None] // clients
    # positions of the rows that are on the reader's device; the others are replaced below
    local, start = (table % size).astype(np.int32), size
    shifts, sends = [], []
    # A ppermute moves one block of one shape from each device to the one ``shift`` places further.
    # So rows are sent shift by shift, and the widest block of a shift sets the width of all blocks.
    # Neighbors on a ring or a grid are close: most shifts need no row and are skipped.
    for shift in range(1, devices):
        crosses = owner == (reader - shift) % devices
        blocks = [slice(p * clients, (p + 1) * clients) for p in range(devices)]
        # unique: a row that several clients of a device read crosses once
        needed = [np.unique(table[block][crosses[block]]) for block in blocks]
        width = max(map(len, needed))
        if not width:
            continue
        rows = np.zeros((devices, width), np.int32)
        for p, (block, wanted) in enumerate(zip(blocks, needed, strict=True)):
            source = (p - shift) % devices
            rows[source, : len(wanted)] = wanted - source * size
            # in the reader's pool, blocks follow its own rows in the order of the shifts
            places = start + np.searchsorted(wanted, table[block])
            local[block] = np.where(crosses[block], places, local[block])
        shifts.append(shift)
        sends.append(jnp.asarray(rows))
        start += width
    return shifts, sends, jnp.asarray(local)
