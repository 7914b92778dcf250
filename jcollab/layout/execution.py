"""Execution of functions of one client over all clients.

``per_client`` stacks the results of clients, ``client_sum`` adds them up. Both split clients over
the active devices, and run in chunks on each of them, see :mod:`jcollab.layout.chunks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jcollab import checks
from jcollab.layout.chunks import chunked, in_chunks, split_axes
from jcollab.layout.clients import num_clients
from jcollab.layout.devices import (
    CLIENTS,
    active_devices,
    fill,
    gather_rows,
    own_rows,
    pmapped,
    sharded,
)
from jcollab.layout.exchange import exchange_rows, route

PyTree = Any


def per_client(
    fn: Callable,
    chunk: int | None = None,
    *,
    in_axes: Any = 0,
    bytes_each: int | None = None,
    only: np.ndarray | None = None,
    reads: np.ndarray | None = None,
) -> Callable:
    """Lifts a function of one client to all clients, with the meaning of ``jax.vmap``.

    Inside :func:`use`, the client axis is split over the devices of the mesh, and shared arguments
    are on each of them. If n is not divisible by the number of devices, some clients are computed
    twice, and the copies are dropped.

    Args:
        fn: a function of arrays of one client.
        chunk: number of clients that are vectorized together; chunks run one after the other. None
            chooses it by backend and size.
        in_axes: as for ``jax.vmap``, with axes 0 (leads with the client axis) and None (shared).
        bytes_each: memory that the call of one client needs; None for the size of its arguments.
        only: indices of the clients for which ``fn`` is called, int ``[r]``; None for all.
        reads: int ``[n, K]``, known when the program is traced: the clients from which client i
            reads a value. Then ``fn(pool, places, *args)`` gets a pool of rows of the first
            argument, and reads those at ``places [K]``; the lifted function is
            ``mapped(x, reads, *args)``. Inside :func:`use`, only rows that cross devices move.

    Returns:
        A function whose results lead with the client axis ``[n, ...]`` (``[r, ...]``).

    Raises:
        ValueError: if chunk < 1.

    Example:
        >>> total = jc.layout.per_client(lambda x, scale: scale * x.sum(), in_axes=(0, None))
        >>> total(jnp.array([[1.0, 2.0], [3.0, 4.0]]), 0.5).tolist()
        [1.5, 3.5]
    """
    checks.counts(chunk=chunk)

    if reads is not None:
        return _reading(fn, chunk, in_axes, bytes_each, only, reads)

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = split_axes(args, in_axes)
        if only is not None:
            own = [leaf[only] for leaf in own]

        def local(own: list, shared: list) -> PyTree:
            return in_chunks(lambda o: fn(*merge(o, shared)), (own,), chunk, bytes_each)

        n, over = num_clients(own, "arguments"), pmapped()
        devices = over or active_devices()
        if devices == 1:
            return local(own, shared)
        # Every device must get equally many clients, because shard_map and pmap split evenly: the
        # first clients are computed once more, and the copies are cut off at the end.
        own = [fill(leaf, devices) for leaf in own]
        if over:
            # pmap has no global arrays: each device has all rows, computes its own part, and
            # gathers the results of the others, so that the following code has all clients
            part = [own_rows(leaf, devices) for leaf in own]
            results = jax.tree.map(gather_rows, local(part, shared))
        else:
            split = P(CLIENTS)
            results = sharded(local, (split, P()), split)(own, shared)
        return jax.tree.map(lambda leaf: leaf[:n], results)

    return mapped


def _reading(
    fn: Callable,
    chunk: int | None,
    in_axes: Any,
    bytes_each: int | None,
    only: np.ndarray | None,
    reads: np.ndarray,
) -> Callable:
    """Builds :func:`per_client` for a function that reads rows of other clients."""

    def mapped(x: PyTree, index_table: jax.Array, *args: PyTree) -> PyTree:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        devices, n = active_devices(), len(reads)
        if devices == 1 or n % devices or pmapped():
            # every device has all rows, or the compiler gathers them: the pool is x itself
            plain = per_client(
                fn, chunk, in_axes=(None, 0, *axes), bytes_each=bytes_each, only=only
            )
            return plain(x, index_table, *args)
        own, shared, merge = split_axes(args, axes)
        shifts, rows, table = route(reads, devices)

        def each(x: PyTree, rows: list, table: jax.Array, own: list, shared: list) -> PyTree:
            pool = exchange_rows(x, rows, shifts, devices)

            def one(places: jax.Array, own: list) -> PyTree:
                # The pool is closed over, not mapped: stacked, it would exist once per client.
                return fn(pool, places, *merge(own, shared))

            return in_chunks(one, (table, own), chunk, bytes_each)

        split = P(CLIENTS)
        results = sharded(each, (split,) * 4 + (P(),), split)(x, rows, table, own, shared)
        # ``only`` is applied last: chosen before, clients would be spread unevenly over devices,
        # and the tables of the exchange would not fit
        return results if only is None else jax.tree.map(lambda leaf: leaf[only], results)

    return mapped


def client_sum(
    fn: Callable,
    chunk: int | None = None,
    *,
    in_axes: Any = 0,
    bytes_each: int | None = None,
    keep: bool = False,
) -> Callable:
    """Computes ``sum_i fn(client i)`` without stacking the results of all clients.

    Results are added up chunk by chunk. Inside :func:`use`, each device adds up its own clients.

    Args:
        fn: a function of arrays of one client. Its results must have the same shape for all.
        chunk: as for :func:`per_client`. It determines the memory, for any number of clients.
        in_axes: as for :func:`per_client`.
        bytes_each: as for :func:`per_client`.
        keep: whether ``fn`` returns ``(value, kept)``. Then values are added up, and kept results
            are stacked ``[n, ...]``.

    Returns:
        A function whose results have no client axis; with ``keep``, a pair.

    Raises:
        ValueError: if chunk < 1.

    Example:
        >>> jc.layout.client_sum(lambda x: x ** 2)(jnp.array([1.0, 2.0, 3.0])).tolist()
        14.0
    """
    checks.counts(chunk=chunk)

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = split_axes(args, in_axes)
        n, over = num_clients(own, "arguments"), pmapped()
        devices = over or active_devices()
        counted = jnp.arange(n + -n % devices) < n  # False for copies that fill up devices
        own = [fill(leaf, devices) for leaf in own]

        def local(own: list, counted: jax.Array, shared: list) -> tuple[PyTree, PyTree]:
            def one(own: list, counts: jax.Array) -> tuple[PyTree, PyTree]:
                outputs = fn(*merge(own, shared))
                value, kept = outputs if keep else (outputs, ())
                if n % devices:  # else nothing is filled up, and the select would cost a pass
                    value = jax.tree.map(lambda leaf: jnp.where(counts, leaf, 0), value)
                return value, kept

            return _added_up(one, (own, counted), chunk, bytes_each)

        def everywhere(own: list, counted: jax.Array, shared: list) -> tuple[PyTree, PyTree]:
            # the sum of a device crosses the network once, not the results of its clients
            value, kept = local(own, counted, shared)
            return jax.lax.psum(value, CLIENTS), kept

        if devices == 1:
            value, kept = local(own, counted, shared)
        elif over:
            part = [own_rows(leaf, devices) for leaf in own]
            value, kept = everywhere(part, own_rows(counted, devices), shared)
            kept = jax.tree.map(gather_rows, kept)
        else:
            split = P(CLIENTS)
            each = sharded(everywhere, (split, split, P()), (P(), split))
            value, kept = each(own, counted, shared)
        return (value, jax.tree.map(lambda leaf: leaf[:n], kept)) if keep else value

    return mapped


def _added_up(
    fn: Callable, args: tuple, chunk: int | None, bytes_each: int | None
) -> tuple[PyTree, PyTree]:
    """Returns the sum of the first results of ``fn``, and the stack of the second ones."""
    n = num_clients(args, "arguments")
    fn, size, shapes = chunked(fn, args, chunk, bytes_each)

    def together(*part: PyTree) -> tuple[PyTree, PyTree]:
        values, kept = jax.vmap(fn)(*part)
        return jax.tree.map(lambda leaf: leaf.sum(0), values), kept

    if size == n:
        return together(*args)
    whole = n // size
    one, parts = fn, args
    # With chunks of one client, fn runs without a vmap: a batch axis of length 1 would cost a copy
    # of every client's arguments, and turn matrix products into batched ones.
    if size > 1:
        one = together
        parts = jax.tree.map(
            lambda leaf: leaf[: whole * size].reshape(whole, size, *leaf.shape[1:]), args
        )
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes[0])

    def add(sums: PyTree, part: tuple) -> tuple[PyTree, PyTree]:
        value, kept = one(*part)
        return jax.tree.map(jnp.add, sums, value), kept

    sums, kept = jax.lax.scan(add, start, parts)
    if size > 1:
        kept = jax.tree.map(lambda leaf: leaf.reshape(whole * size, *leaf.shape[2:]), kept)
    if whole * size < n:  # the last chunk is smaller, so it is outside of the scan
        rest, more = together(*jax.tree.map(lambda leaf: leaf[whole * size :], args))
        sums = jax.tree.map(jnp.add, sums, rest)
        kept = jax.tree.map(lambda *both: jnp.concatenate(both), kept, more)
    return sums, kept
