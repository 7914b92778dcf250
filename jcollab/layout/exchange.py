"""Exchanges over the edges of a graph, of which only those between devices move data."""

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
    """Work on rows that each client reads of others, for which only what crosses devices moves.

    Args:
        fn: ``fn(pool, table, *args) -> [m, ...]`` for m clients. ``pool`` has rows; their own
            ones come first, in their order. ``table`` int ``[m, K]`` has the places in the pool of
            the entries of the full table.
        table: int ``[n, K]``, the rows that client i reads, known when the program is traced.
        rows_per_client: r, rows of x that belong to each client.

    Returns:
        ``mapped(x, table, *args)`` with x ``[n r, ...]`` and everything else leading with the
        client axis ``[n, ...]``. On one device that is ``fn(x, table, *args)``; inside
        :func:`use`, each device sends every other one the rows that it needs, once.
    """

    def mapped(x: jax.Array, index_table: jax.Array, *args: PyTree) -> PyTree:
        devices, n = active_devices(), len(table)
        # Under pmap everything is gathered already; where devices do not divide n, blocks of
        # clients differ in size, and the compiler's own all-gather takes over.
        if devices == 1 or n % devices or pmapped():
            return fn(x, index_table, *args)
        shifts, rows, local = route(table, devices, rows_per_client)

        def each(x: jax.Array, rows: list, local: jax.Array, args: tuple) -> PyTree:
            return fn(exchange_rows(x, rows, shifts, devices), local, *args)

        split = P(CLIENTS)
        return sharded(each, (split,) * 4, split)(x, rows, local, args)

    return mapped


def exchange_rows(x: PyTree, rows: list[jax.Array], shifts: list[int], devices: int) -> PyTree:
    """The own rows of a device, and behind them what the others send, see :func:`route`."""

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
    """What each device sends to the one ``shift`` further, and the table in terms of the pools.

    Returns:
        The shifts; for each of them the rows, int32 ``[devices, width]`` (numbers on the sender,
        padded with 0); and the table, int32 ``[n, K]``.
    """
    clients = len(table) // devices
    size = clients * rows_per_client
    owner, reader = table // size, np.arange(len(table))[:, None] // clients
    local, start = (table % size).astype(np.int32), size
    shifts, sends = [], []
    # A ppermute moves one block of one shape from each device to the one ``shift`` further. So
    # readers are served shift by shift, and the widest block of a shift sets the width of all.
    for shift in range(1, devices):
        crosses = owner == (reader - shift) % devices
        blocks = [slice(p * clients, (p + 1) * clients) for p in range(devices)]
        # a row that several clients of a device read crosses once
        needed = [np.unique(table[block][crosses[block]]) for block in blocks]
        width = max(map(len, needed))
        if not width:
            continue
        rows = np.zeros((devices, width), np.int32)
        for p, (block, wanted) in enumerate(zip(blocks, needed, strict=True)):
            source = (p - shift) % devices
            rows[source, : len(wanted)] = wanted - source * size
            # the pool of the reader: its own rows, then the blocks in the order of the shifts
            places = start + np.searchsorted(wanted, table[block])
            local[block] = np.where(crosses[block], places, local[block])
        shifts.append(shift)
        sends.append(jnp.asarray(rows))
        start += width
    return shifts, sends, jnp.asarray(local)
