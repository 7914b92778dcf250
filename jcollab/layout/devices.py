"""Devices: meshes, where a state lies on them, and what runs on how many."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jcollab import checks
from jcollab.layout.clients import num_clients

PyTree = Any
CLIENTS = "clients"
INNER = "inner"
# number of devices of the pmap that is being traced, see pmap
PMAPPED: contextvars.ContextVar[int] = contextvars.ContextVar("pmapped", default=0)


def mesh(num_devices: int | None = None, *, inner: int = 1) -> Mesh:
    """A mesh that lays the client axis over devices.

    Args:
        num_devices: how many of the available devices to use; None for all (of all processes).
        inner: how many devices work on each client together. They form a second axis, ``"inner"``,
            that the library leaves to the compiler: lay a batch or a weight over it, with
            for example with ``PartitionSpec("clients", "inner")``, and results follow.

    Raises:
        ValueError: if there are fewer devices than asked for, or inner does not divide them.
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    checks.count("num_devices", count, 1, len(devices))
    checks.count("inner", inner)
    if count % inner:
        raise ValueError(f"inner must divide the {count} devices, got {inner}")
    if inner == 1:
        return Mesh(np.array(devices[:count]), (CLIENTS,), axis_types=(AxisType.Auto,))
    grid = np.array(devices[:count]).reshape(-1, inner)
    return Mesh(grid, (CLIENTS, INNER), axis_types=(AxisType.Auto,) * 2)


@contextlib.contextmanager
def use(mesh: Mesh) -> Iterator[Mesh]:
    """Within this context the client axis is split over the devices of ``mesh``.

    Raises:
        TypeError: if it is no mesh.
    """
    checks.kind(Mesh, mesh=mesh)
    with jax.set_mesh(mesh):
        yield mesh


def place(state: PyTree, mesh: Mesh) -> PyTree:
    """Lays a State over a mesh: ``clients`` split along their axis, the rest on every device.

    Where the devices do not divide n, clients lie on every device as well: work is still split.

    Args:
        state: a State; with several processes, each has the whole of it.
        mesh: from :func:`mesh`.

    Raises:
        TypeError: if ``state`` is no State, or ``mesh`` no mesh.
        ValueError: if a client leaf has no client axis.
    """
    if not all(hasattr(state, field) for field in ("clients", "shared", "step")):
        raise TypeError(f"state must be a State, got {type(state).__name__}")
    checks.kind(Mesh, mesh=mesh)
    split, whole = NamedSharding(mesh, P(CLIENTS)), NamedSharding(mesh, P())
    if (
        jax.tree.leaves(state.clients)
        and num_clients(state.clients, "state.clients") % mesh.shape[CLIENTS]
    ):
        split = whole

    def put(tree: PyTree, sharding: NamedSharding) -> PyTree:
        if sharding.is_fully_addressable:
            return jax.device_put(tree, sharding)

        def one(leaf: jax.Array) -> jax.Array:
            value = np.asarray(leaf)
            return jax.make_array_from_callback(value.shape, sharding, lambda i: value[i])

        return jax.tree.map(one, tree)

    return type(state)(put(state.clients, split), put(state.shared, whole), put(state.step, whole))


def active_devices() -> int:
    """Number of devices over which the client axis is split, see :func:`use`."""
    shape = jax.sharding.get_abstract_mesh().shape
    return shape.get(CLIENTS, 1)


def sharded(fn: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """``fn`` of one device's part of the clients, run on each device of the active mesh."""
    return jax.shard_map(
        fn, in_specs=in_specs, out_specs=out_specs, axis_names={CLIENTS}, check_vma=False
    )


def pmapped() -> int:
    """Number of devices of the pmap that is being traced, 0 outside of one."""
    return PMAPPED.get()


def fill(leaf: jax.Array, devices: int) -> jax.Array:
    """Repeats rows until the devices divide their number."""
    n = leaf.shape[0]
    return leaf[np.resize(np.arange(n), n + -n % devices)] if n % devices else leaf


def own_rows(leaf: jax.Array, devices: int) -> jax.Array:
    """This device's part of ``[n, ...]``, within a pmap."""
    size = leaf.shape[0] // devices
    return jax.lax.dynamic_slice_in_dim(leaf, jax.lax.axis_index(CLIENTS) * size, size)


def gather_rows(leaf: jax.Array) -> jax.Array:
    """The parts of all devices, one after the other, within a pmap."""
    return jax.lax.all_gather(leaf, CLIENTS, tiled=True)
