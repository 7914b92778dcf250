"""The only file that knows devices: where the client axis lies and how work over it is executed.

Algorithms are written against stacked arrays. This file decides whether a function of one client
runs as one vectorised program, as a loop, or split over devices; results do not depend on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

PyTree = Any
CLIENTS = "clients"
REPLICAS = "replicas"

# On a CPU, clients that are larger than this run one after the other: stacked weights turn every
# matrix product into a batched one that leaves the cache. Smaller ones are vectorised together.
CPU_CHUNK_BYTES = 1 << 18
ACCELERATOR_CHUNK_BYTES = 1 << 31  # of what is only needed while a client is served (its inbox)


def num_clients(tree: PyTree, name: str = "tree") -> int:
    """The length n of the client axis, which every leaf must lead with.

    Raises:
        ValueError: naming the leaf that has no client axis, or another length than the first.
    """
    n = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        where = name + jax.tree_util.keystr(path)
        shape = jnp.shape(leaf)
        if not shape:
            raise ValueError(f"{where} is a scalar; every leaf must lead with the client axis [n]")
        if n is None:
            n, first = shape[0], where
        if shape[0] != n:
            raise ValueError(
                f"{where} has a client axis of length {shape[0]}, but that of {first} is {n}"
            )
    if n is None:
        raise ValueError(f"{name} holds no array, so the number of clients is not known")
    return n


def client_keys(key: jax.Array, n: int | jax.Array) -> jax.Array:
    """One random key per client, drawn by identity: ``fold_in(key, i)``.

    A client's draws are the same whatever the number of devices or the chunk it is executed in.

    Args:
        key: random key.
        n: number of clients, for i = 0..n-1, or their numbers, int ``[r]``.
    """
    numbers = jnp.arange(n) if isinstance(n, int) else n
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)


def per_client(
    fn: Callable,
    chunk: int | None = None,
    *,
    in_axes: Any = 0,
    bytes_each: int | None = None,
    only: np.ndarray | None = None,
) -> Callable:
    """``fn`` of one client, lifted to all of them: the meaning of ``jax.vmap``, executed to fit.

    Args:
        fn: a function of arrays of one client.
        chunk: number of clients that are vectorised together, while chunks follow one another in
            a loop; None chooses by backend and size.
        in_axes: as for ``jax.vmap``, with axes 0 (leads with the client axis) and None (shared).
        bytes_each: memory that one client's call needs; None for that of its arguments.
        only: numbers of the clients that it is called for, int ``[r]``; None for all.

    Returns:
        A function whose results lead with the client axis ``[n, ...]`` (``[r, ...]``). Inside
        :func:`use`, the axis is split over the devices of the mesh, and shared arguments lie on
        each of them.

    Raises:
        ValueError: if chunk < 1, or n is not divisible by the number of devices.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = _split(args, in_axes)

        def local(own: list, shared: list) -> PyTree:
            return _in_chunks(lambda o: fn(*merge(o, shared)), (own,), chunk, bytes_each)

        devices = _active_devices()
        if only is not None:
            # some are called for twice where the devices do not divide them
            rows = np.resize(only, len(only) + -len(only) % devices)
            own = [leaf[rows] for leaf in own]
        if devices == 1:
            return local(own, shared)
        _check_divisible(num_clients(own, "arguments"), devices)
        split = P(CLIENTS)
        results = jax.shard_map(local, in_specs=(split, P()), out_specs=split, check_vma=False)(
            own, shared
        )
        return results if only is None else jax.tree.map(lambda leaf: leaf[: len(only)], results)

    return mapped


def vectorized(fn: Callable, chunk: int | None = None) -> Callable:
    """The meaning of ``jax.vmap``, in chunks that fit, on one device: for use within a client."""
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
    """

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = _split(args, in_axes)

        def local(own: list, shared: list) -> PyTree:
            return _in_chunks(lambda o: fn(*merge(o, shared)), (own,), chunk)

        total = num_clients(own, "replicas")
        count = min(total, jax.device_count())
        if count == 1 or _active_devices() > 1:
            return local(own, shared)
        rest = -total % count  # the first run once more, where the devices do not divide the runs
        own = [jnp.concatenate([leaf, leaf[:rest]]) if rest else leaf for leaf in own]
        runs = Mesh(np.array(jax.devices()[:count]), (REPLICAS,), axis_types=(AxisType.Auto,))
        split = P(REPLICAS)
        results = jax.shard_map(
            local, mesh=runs, in_specs=(split, P()), out_specs=split, check_vma=False
        )(own, shared)
        return jax.tree.map(lambda leaf: leaf[:total], results) if rest else results

    return mapped


def _split(args: tuple, in_axes: Any) -> tuple[list, list, Callable[[list, list], tuple]]:
    """Leaves that lead with the mapped axis, leaves that are shared, and how to merge them."""
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
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
    # batch_size=1 would vectorise over a single client, which costs as much as over many
    return jax.lax.map(lambda a: fn(*a), args, batch_size=None if size == 1 else size)


def _default_chunk(args: tuple[PyTree, ...], n: int, bytes_each: int | None) -> int:
    budget = CPU_CHUNK_BYTES if jax.default_backend() == "cpu" else ACCELERATOR_CHUNK_BYTES
    if bytes_each is None:
        if jax.default_backend() != "cpu":
            return n
        bytes_each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(args)) // n
    return max(1, budget // max(bytes_each, 1))


def mesh(num_devices: int | None = None) -> Mesh:
    """A mesh that lays the client axis over devices.

    Args:
        num_devices: how many of the available devices to use; None for all.

    Raises:
        ValueError: if there are fewer devices than asked for.
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    if not 1 <= count <= len(devices):
        raise ValueError(f"num_devices must be in 1..{len(devices)}, got {num_devices}")
    return Mesh(np.array(devices[:count]), (CLIENTS,), axis_types=(AxisType.Auto,))


@contextlib.contextmanager
def use(mesh: Mesh) -> Iterator[Mesh]:
    """Within this context the client axis is split over the devices of ``mesh``."""
    with jax.set_mesh(mesh):
        yield mesh


def place(state: PyTree, mesh: Mesh) -> PyTree:
    """Lays a State over a mesh: ``clients`` split along their axis, the rest on every device.

    Args:
        state: a State.
        mesh: from :func:`mesh`.

    Raises:
        ValueError: if a client leaf has no client axis or n is not divisible by the devices.
    """
    if jax.tree.leaves(state.clients):
        _check_divisible(num_clients(state.clients, "state.clients"), mesh.size)
    split, whole = NamedSharding(mesh, P(CLIENTS)), NamedSharding(mesh, P())
    return type(state)(
        jax.device_put(state.clients, split),
        jax.device_put(state.shared, whole),
        jax.device_put(state.step, whole),
    )


def _active_devices() -> int:
    shape = jax.sharding.get_abstract_mesh().shape
    return shape.get(CLIENTS, 1)


def _check_divisible(n: int, devices: int) -> None:
    if n % devices:
        raise ValueError(f"n={n} clients cannot be split evenly over {devices} devices")
