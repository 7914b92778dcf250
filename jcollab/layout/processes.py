"""Runs of one program by several processes."""

from __future__ import annotations

import threading
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jcollab import checks
from jcollab.layout.devices import CLIENTS

PyTree = Any
MARGIN = 3600  # seconds by which the timeout of jax exceeds that of initialize


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = 60,
) -> None:
    """Connects this process to others, so that :func:`mesh` spans the devices of all of them.

    Every process then runs the same program. Call this function before any other of JAX.

    Args:
        coordinator: ``"host:port"`` of process 0; None if the cluster provides it (TPU, Slurm).
        num_processes: number of processes; None if the cluster provides it.
        process_id: index of this process, 0..num_processes-1; None if the cluster provides it.
        timeout: seconds to wait for the other processes.

    Raises:
        ValueError: if process_id is out of range.
        TimeoutError: if the others do not connect in time.

    Example:
        >>> jc.layout.initialize("10.0.0.1:1234", num_processes=2, process_id=0)  # doctest: +SKIP
        >>> jc.layout.initialize("10.0.0.1:1234", num_processes=2, process_id=2)
        Traceback (most recent call last):
        ValueError: process_id must be in 0..1, got 2
    """
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    if process_id is not None and not 0 <= process_id < (num_processes or process_id + 1):
        allowed = "at least 0" if num_processes is None else f"in 0..{num_processes - 1}"
        raise ValueError(f"process_id must be {allowed}, got {process_id}")
    raised: list[BaseException] = []

    def join() -> None:
        try:
            # When its timeout is over, jax aborts the whole process, and no exception can be
            # caught. So it runs in a thread with a longer timeout, and this function raises first.
            jax.distributed.initialize(
                coordinator, num_processes, process_id, initialization_timeout=timeout + MARGIN
            )
        except BaseException as error:  # raised below: in a thread, it would be lost
            raised.append(error)

    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    joining.join(timeout)
    if joining.is_alive():
        raise TimeoutError(
            f"process {process_id} of {num_processes} waited {timeout} s for the others at "
            f"{coordinator}; check that all of them are started and can reach this address"
        )
    if raised:
        raise raised[0]


def own_clients(n: int, mesh: Mesh) -> range:
    """Returns the clients whose data this process must provide, if n are split over ``mesh``.

    Args:
        n: number of clients.
        mesh: from :func:`mesh`.

    Raises:
        ValueError: if n is not divisible by the number of devices.

    Example:
        >>> jc.layout.own_clients(4, jc.layout.mesh(1))
        range(0, 4)
    """
    checks.count("n", n)
    rows = mesh.devices.reshape(mesh.shape[CLIENTS], -1)
    if n % len(rows):
        raise ValueError(f"n={n} clients cannot be split evenly over {len(rows)} devices")
    size, here = n // len(rows), jax.process_index()
    # JAX lists devices by process, so the rows of a process are adjacent, and its clients are a
    # range. With an inner axis, a row may belong to several processes; each needs its clients.
    mine = [i for i, row in enumerate(rows) if any(d.process_index == here for d in row)]
    return range(mine[0] * size, (mine[-1] + 1) * size)


def from_process_local(tree: PyTree, mesh: Mesh) -> PyTree:
    """Builds arrays ``[n, ...]`` on ``mesh`` from the rows that each process provides.

    Args:
        tree: pytree of arrays with the rows of :func:`own_clients`.
        mesh: from :func:`mesh`.

    Example:
        >>> mesh = jc.layout.mesh(1)
        >>> mine = jc.layout.own_clients(4, mesh)
        >>> jc.layout.from_process_local(np.zeros((len(mine), 3)), mesh).shape
        (4, 3)
    """
    sharding = NamedSharding(mesh, P(CLIENTS))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
    )


def fetch(tree: PyTree) -> PyTree:
    """Copies whole arrays into the memory of every process, as NumPy arrays.

    Example:
        >>> jc.layout.fetch({"w": jnp.arange(3)})
        {'w': array([0, 1, 2], dtype=int32)}
    """
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)
