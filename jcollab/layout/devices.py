"""Devices: meshes, the placement of states on them, and helpers of code that runs on each one."""

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
# Number of devices of the pmap that is being traced. Under pmap there is no mesh in the context:
# only this variable shows per_client that the axis is bound. It is a context variable because other
# threads may trace at the same time.
PMAPPED: contextvars.ContextVar[int] = contextvars.ContextVar("pmapped", default=0)


def mesh(num_devices: int | None = None, *, inner: int = 1) -> Mesh:
    """Builds a mesh that splits the client axis over devices.

    Args:
        num_devices: number of devices to use; None for all (of all processes).
        inner: number of devices that work together on each client. They form a second axis,
            ``"inner"``, which is left to the compiler: place a batch or a weight on it, for example
            with ``PartitionSpec("clients", "inner")``, and the compiler partitions the rest.

    Raises:
        ValueError: if there are fewer devices than requested, or ``inner`` does not divide their
            number.

    Example:
        >>> dict(jc.layout.mesh(1).shape)
        {'clients': 1}
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    checks.count("num_devices", count, 1, len(devices))
    checks.count("inner", inner)
    if count % inner:
        raise ValueError(f"inner must divide the {count} devices, got {inner}")
    # Auto axes: the compiler derives how intermediate values are sharded. With explicit axes, the
    # sharding would be part of each type, and operations in users' losses without a rule for it
    # would raise.
    if inner == 1:
        return Mesh(np.array(devices[:count]), (CLIENTS,), axis_types=(AxisType.Auto,))
    grid = np.array(devices[:count]).reshape(-1, inner)
    return Mesh(grid, (CLIENTS, INNER), axis_types=(AxisType.Auto,) * 2)


@contextlib.contextmanager
def use(mesh: Mesh) -> Iterator[Mesh]:
    """Splits the client axis over the devices of ``mesh``, within this context.

    Args:
        mesh: from :func:`mesh`.

    Raises:
        TypeError: if ``mesh`` is not a mesh.

    Example:
        >>> square = jc.layout.per_client(lambda x: x ** 2)
        >>> with jc.layout.use(jc.layout.mesh(1)):
        ...     square(jnp.arange(3.0)).tolist()
        [0.0, 1.0, 4.0]
    """
    checks.kind(Mesh, mesh=mesh)
    with jax.set_mesh(mesh):
        yield mesh


def place(state: PyTree, mesh: Mesh) -> PyTree:
    """Places a State on a mesh: ``clients`` split along their axis, the rest on every device.

    If n is not divisible by the number of devices, clients are placed on every device too. Their
    work is still split.

    Args:
        state: a State. With several processes, each must have the whole state.
        mesh: from :func:`mesh`.

    Raises:
        TypeError: if ``state`` is not a State, or ``mesh`` not a mesh.
        ValueError: if a client leaf has no client axis.

    Example:
        >>> state = jc.State(jnp.zeros((4, 2)), (), jnp.int32(0))
        >>> placed = jc.layout.place(state, jc.layout.mesh(1))
        >>> tuple(placed.clients.sharding.spec)
        ('clients',)
    """
    # by its fields: the class is in core, which layout must not import
    if not all(hasattr(state, field) for field in ("clients", "shared", "step")):
        raise TypeError(f"state must be a State, got {type(state).__name__}")
    checks.kind(Mesh, mesh=mesh)
    split, whole = _split(state.clients, mesh), NamedSharding(mesh, P())
    return type(state)(
        _put(state.clients, split), _put(state.shared, whole), _put(state.step, whole)
    )


def place_rows(tree: PyTree) -> PyTree:
    """Moves arrays ``[n, ...]`` to the devices over which :func:`use` splits the client axis.

    The call returns while the arrays are still being copied. Outside of :func:`use` they are moved
    to the default device. With several processes, each must have all n rows.

    Example:
        >>> with jc.layout.use(jc.layout.mesh(1)):
        ...     tuple(place_rows(np.zeros((4, 2))).sharding.spec)
        ('clients',)
    """
    mesh = jax.sharding.get_mesh()
    if CLIENTS not in mesh.shape:
        return jax.device_put(tree)
    return _put(tree, _split(tree, mesh))


def _split(tree: PyTree, mesh: Mesh) -> NamedSharding:
    """Returns how arrays of clients are placed: split, or whole if the devices do not divide n."""
    leaves = jax.tree.leaves(tree)
    fits = not leaves or num_clients(tree, "state.clients") % mesh.shape[CLIENTS] == 0
    return NamedSharding(mesh, P(CLIENTS) if fits else P())


def _put(tree: PyTree, sharding: NamedSharding) -> PyTree:
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    # several processes: each provides the rows of its own devices
    def one(leaf: jax.Array) -> jax.Array:
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, sharding, lambda i: value[i])

    return jax.tree.map(one, tree)


def active_devices() -> int:
    """Returns the number of devices over which the client axis is split, see :func:`use`."""
    shape = jax.sharding.get_abstract_mesh().shape
    return shape.get(CLIENTS, 1)


def sharded(fn: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """Runs ``fn``, a function of one device's clients, on each device of the active mesh."""
    # Only the client axis is manual; an inner axis stays with the compiler. check_vma is off: it
    # rejects loops whose carry starts as a constant and then varies by device, which users' losses
    # contain.
    return jax.shard_map(
        fn, in_specs=in_specs, out_specs=out_specs, axis_names={CLIENTS}, check_vma=False
    )


def pmapped() -> int:
    """Returns the number of devices of the pmap that is being traced, 0 outside of one."""
    return PMAPPED.get()


def fill(leaf: jax.Array, devices: int) -> jax.Array:
    """Repeats the first rows, so that the number of rows is divisible by the number of devices."""
    # Copies of rows, not zeros: zeros may be invalid input (a division, a loop until convergence).
    n = leaf.shape[0]
    return leaf[np.resize(np.arange(n), n + -n % devices)] if n % devices else leaf


def own_rows(leaf: jax.Array, devices: int) -> jax.Array:
    """Returns this device's part of ``[n, ...]``, within a pmap."""
    size = leaf.shape[0] // devices
    return jax.lax.dynamic_slice_in_dim(leaf, jax.lax.axis_index(CLIENTS) * size, size)


def gather_rows(leaf: jax.Array) -> jax.Array:
    """Concatenates the parts of all devices, within a pmap."""
    return jax.lax.all_gather(leaf, CLIENTS, tiled=True)
