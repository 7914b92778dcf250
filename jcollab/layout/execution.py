"""How a function of one client, or of one run, is executed for many of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jcollab import checks
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
REPLICAS = "replicas"

# On a CPU, clients that are larger than this run one after the other: stacked weights turn every
# matrix product into a batched one that leaves the cache. Smaller ones are vectorized together.
CPU_CHUNK_BYTES = 1 << 18
ACCELERATOR_CHUNK_BYTES = 1 << 31  # of what is only needed while a client is served (its inbox)


def per_client(
    fn: Callable,
    chunk: int | None = None,
    *,
    in_axes: Any = 0,
    bytes_each: int | None = None,
    only: np.ndarray | None = None,
    reads: np.ndarray | None = None,
) -> Callable:
    """``fn`` of one client, lifted to all of them: the meaning of ``jax.vmap``, executed to fit.

    Args:
        fn: a function of arrays of one client.
        chunk: number of clients that are vectorized together, while chunks follow one another in
            a loop; None chooses by backend and size.
        in_axes: as for ``jax.vmap``, with axes 0 (leads with the client axis) and None (shared).
        bytes_each: memory that one client's call needs; None for that of its arguments.
        only: numbers of the clients that it is called for, int ``[r]``; None for all.
        reads: int ``[n, K]``, known when the program is traced, the clients of which client i reads
            a value. ``fn(pool, places, *args)`` then gets rows of the first argument, of which
            those at ``places [K]`` are meant, and is lifted to ``mapped(x, reads, *args)``; inside
            :func:`use`, only rows that cross devices move.

    Returns:
        A function whose results lead with the client axis ``[n, ...]`` (``[r, ...]``). Inside
        :func:`use`, the axis is split over the devices of the mesh, and shared arguments lie on
        each of them.

    Where the devices do not divide n, some clients are computed twice and left out of the result.

    Raises:
        ValueError: if chunk < 1.
    """
    checks.counts(chunk=chunk)

    if reads is not None:
        return _reading(fn, chunk, in_axes, bytes_each, only, reads)

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = _split(args, in_axes)
        if only is not None:
            own = [leaf[only] for leaf in own]

        def local(own: list, shared: list) -> PyTree:
            return _in_chunks(lambda o: fn(*merge(o, shared)), (own,), chunk, bytes_each)

        n, over = num_clients(own, "arguments"), pmapped()
        devices = over or active_devices()
        if devices == 1:
            return local(own, shared)
        # Every device must get equally many clients: the first ones are computed once more, and
        # the copies are cut off at the end.
        own = [fill(leaf, devices) for leaf in own]
        if over:
            # pmap has no global arrays: each device has all rows, works on its own part, and
            # gathers the results, so that what follows has all clients again
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
    def mapped(x: PyTree, index_table: jax.Array, *args: PyTree) -> PyTree:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        devices, n = active_devices(), len(reads)
        if devices == 1 or n % devices or pmapped():
            plain = per_client(
                fn, chunk, in_axes=(None, 0, *axes), bytes_each=bytes_each, only=only
            )
            return plain(x, index_table, *args)
        own, shared, merge = _split(args, axes)
        shifts, rows, table = route(reads, devices)

        def each(x: PyTree, rows: list, table: jax.Array, own: list, shared: list) -> PyTree:
            pool = exchange_rows(x, rows, shifts, devices)

            def one(places: jax.Array, own: list) -> PyTree:
                # the pool is closed over, not mapped: stacked, it would exist once a client
                return fn(pool, places, *merge(own, shared))

            return _in_chunks(one, (table, own), chunk, bytes_each)

        split = P(CLIENTS)
        results = sharded(each, (split,) * 4 + (P(),), split)(x, rows, table, own, shared)
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
    """``sum_i fn(client i)``, added up as clients are served, so that results are never stacked.

    Args:
        fn: a function of arrays of one client; its results must have one shape for all.
        chunk: as for :func:`per_client`; it sets the memory, whatever the number of clients.
        in_axes: as for :func:`per_client`.
        bytes_each: as for :func:`per_client`.
        keep: whether ``fn`` returns ``(value, kept)``, of which only the value is added up, and
            what is kept is stacked ``[n, ...]`` as by :func:`per_client`.

    Returns:
        A function whose results have no client axis; with ``keep``, a pair. Inside :func:`use`,
        each device adds up its own clients.

    Raises:
        ValueError: if chunk < 1.
    """
    checks.counts(chunk=chunk)

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = _split(args, in_axes)
        n, over = num_clients(own, "arguments"), pmapped()
        devices = over or active_devices()
        counted = jnp.arange(n + -n % devices) < n  # clients that fill up devices do not count
        own = [fill(leaf, devices) for leaf in own]

        def local(own: list, counted: jax.Array, shared: list) -> tuple[PyTree, PyTree]:
            def one(own: list, counts: jax.Array) -> tuple[PyTree, PyTree]:
                outputs = fn(*merge(own, shared))
                value, kept = outputs if keep else (outputs, ())
                if n % devices:
                    value = jax.tree.map(lambda leaf: jnp.where(counts, leaf, 0), value)
                return value, kept

            return _added_up(one, (own, counted), chunk, bytes_each)

        def everywhere(own: list, counted: jax.Array, shared: list) -> tuple[PyTree, PyTree]:
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
    """The sum of the first, and the stack of the second of what ``fn`` returns."""
    n = num_clients(args, "arguments")
    size = min(n, chunk or _default_chunk(args, n, bytes_each))

    def together(*part: PyTree) -> tuple[PyTree, PyTree]:
        values, kept = jax.vmap(fn)(*part)
        return jax.tree.map(lambda leaf: leaf.sum(0), values), kept

    if size == n:
        return together(*args)
    whole = n // size
    one, parts = fn, args
    if size > 1:  # a chunk axis of length 1 would cost a copy of every client's arguments
        one = together
        parts = jax.tree.map(
            lambda leaf: leaf[: whole * size].reshape(whole, size, *leaf.shape[1:]), args
        )
    start = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(fn, *jax.tree.map(lambda leaf: leaf[0], args))[0],
    )

    def add(sums: PyTree, part: tuple) -> tuple[PyTree, PyTree]:
        value, kept = one(*part)
        return jax.tree.map(jnp.add, sums, value), kept

    sums, kept = jax.lax.scan(add, start, parts)
    if size > 1:
        kept = jax.tree.map(lambda leaf: leaf.reshape(whole * size, *leaf.shape[2:]), kept)
    if whole * size < n:
        rest, more = together(*jax.tree.map(lambda leaf: leaf[whole * size :], args))
        sums = jax.tree.map(jnp.add, sums, rest)
        kept = jax.tree.map(lambda *both: jnp.concatenate(both), kept, more)
    return sums, kept


def loops() -> bool:
    """Whether large clients follow one another in a loop, as on a CPU, or are all vectorized."""
    return jax.default_backend() == "cpu"


def vectorized(fn: Callable, chunk: int | None = None) -> Callable:
    """The meaning of ``jax.vmap``, in chunks that fit, on one device: for use within a client."""
    checks.counts(chunk=chunk)
    return lambda *args: _in_chunks(fn, args, chunk)


def per_replica(fn: Callable, in_axes: Any = 0, chunk: int | None = None) -> Callable:
    """``fn`` of one independent run, lifted to many: the meaning of ``jax.vmap``, executed to fit.

    Runs (seeds, hyper-parameters) share nothing, so they are also spread over the devices, unless
    :func:`use` has given those to the clients.

    Args:
        fn: a function of the arrays of one run.
        in_axes: as for ``jax.vmap``, with axes 0 (one entry per run) and None (shared).
        chunk: as for :func:`per_client`.

    Returns:
        A function whose results lead with the replica axis ``[S, ...]``.

    Raises:
        ValueError: if chunk < 1.
    """
    checks.counts(chunk=chunk)

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = _split(args, in_axes)

        def local(own: list, shared: list) -> PyTree:
            return _in_chunks(lambda o: fn(*merge(o, shared)), (own,), chunk)

        total = num_clients(own, "replicas")
        count = min(total, jax.device_count())
        if count == 1 or active_devices() > 1 or pmapped():
            return local(own, shared)
        rest = -total % count
        own = [fill(leaf, count) for leaf in own]
        runs = Mesh(np.array(jax.devices()[:count]), (REPLICAS,), axis_types=(AxisType.Auto,))
        split = P(REPLICAS)
        results = jax.shard_map(
            local, mesh=runs, in_specs=(split, P()), out_specs=split, check_vma=False
        )(own, shared)
        if not rest:
            return results
        # on every device: the compiler may else leave the last ones out, which results of this
        # function could then not be given to
        whole = NamedSharding(runs, P())
        cut = jax.tree.map(lambda leaf: leaf[:total], results)
        return jax.lax.with_sharding_constraint(cut, whole)

    return mapped


def _split(args: tuple, in_axes: Any) -> tuple[list, list, Callable[[list, list], tuple]]:
    """Leaves that lead with the mapped axis, leaves that are shared, and how to merge them."""
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    for axis in jax.tree.leaves(axes, is_leaf=_is_axis):
        checks.one_of("in_axes", axis, (0, None))
    leaves, structure = jax.tree.flatten(args)
    mapped = jax.tree.map(lambda axis: axis is not None, axes, is_leaf=_is_axis)
    flags = jax.tree.leaves(jax.tree.broadcast(mapped, args))
    own = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
    shared = [leaf for leaf, flag in zip(leaves, flags, strict=True) if not flag]

    def merge(own: list, shared: list) -> tuple:
        mine, common = iter(own), iter(shared)
        merged = [next(mine) if flag else next(common) for flag in flags]
        return jax.tree.unflatten(structure, merged)

    return own, shared, merge


def _is_axis(axis: Any) -> bool:
    return axis is None or isinstance(axis, int)


def _in_chunks(
    fn: Callable, args: tuple, chunk: int | None, bytes_each: int | None = None
) -> PyTree:
    n = num_clients(args, "arguments")
    size = min(n, chunk or _default_chunk(args, n, bytes_each))
    if size == n:
        return jax.vmap(fn)(*args)
    # batch_size=1 would vectorize over a single client, which costs as much as over many
    return jax.lax.map(lambda a: fn(*a), args, batch_size=None if size == 1 else size)


def _default_chunk(args: tuple[PyTree, ...], n: int, bytes_each: int | None) -> int:
    budget = CPU_CHUNK_BYTES if loops() else ACCELERATOR_CHUNK_BYTES
    if bytes_each is None:
        if not loops():
            return n
        bytes_each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(args)) // n
    return max(1, budget // max(bytes_each, 1))
