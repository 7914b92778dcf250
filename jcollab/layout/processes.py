"""Several processes that run one program."""

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
MARGIN = 3600  # seconds


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = 60,
) -> None:
    """Joins this process to others, so that :func:`mesh` spans the devices of all of them.

    Every process then runs the same program. To be called before jax is used.

    Args:
        coordinator: ``"host:port"`` of process 0; None where the cluster provides it (TPU, Slurm).
        num_processes: how many there are; None where the cluster provides it.
        process_id: number of this one, 0..num_processes-1; None where the cluster provides it.
        timeout: seconds to wait for the others.

    Raises:
        ValueError: if process_id is out of range.
        TimeoutError: if the others do not come in time.
    """
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    if process_id is not None and not 0 <= process_id < (num_processes or process_id + 1):
        raise ValueError(f"process_id must be in 0..{num_processes} - 1, got {process_id}")
    raised: list[BaseException] = []

    def join() -> None:
        try:
            # jax ends the whole process when its own time is over: ours is over first
            jax.distributed.initialize(
                coordinator, num_processes, process_id, initialization_timeout=timeout + MARGIN
            )
        except BaseException as error:  # handed on to the caller
            raised.append(error)

    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    joining.join(timeout)
    if joining.is_alive():
        raise TimeoutError(
            f"process {process_id} of {num_processes} waited {timeout} s for the others at "
            f"{coordinator}; are all of them started, and can they reach it?"
        )
    if raised:
        raise raised[0]


def own_clients(n: int, mesh: Mesh) -> range:
    """The clients whose data this process needs, if the n of them are split over ``mesh``.

    Raises:
        ValueError: if the devices do not divide n.
    """
    checks.count("n", n)
    rows = mesh.devices.reshape(mesh.shape[CLIENTS], -1)
    if n % len(rows):
        raise ValueError(f"n={n} clients cannot be split evenly over {len(rows)} devices")
    size, here = n // len(rows), jax.process_index()
    mine = [i for i, row in enumerate(rows) if any(d.process_index == here for d in row)]
    return range(mine[0] * size, (mine[-1] + 1) * size)


def from_process_local(tree: PyTree, mesh: Mesh) -> PyTree:
    """Arrays ``[n, ...]`` over ``mesh`` of which each process gives the rows of its own clients."""
    sharding = NamedSharding(mesh, P(CLIENTS))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
    )


def fetch(tree: PyTree) -> PyTree:
    """The whole arrays in the memory of every process, as NumPy."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)
