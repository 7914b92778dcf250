"""Execution of functions of one independent run over many runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jcollab import checks
from jcollab.layout.chunks import in_chunks, split_axes
from jcollab.layout.clients import num_clients
from jcollab.layout.devices import active_devices, fill, pmapped

PyTree = Any
REPLICAS = "replicas"


def per_replica(fn: Callable, in_axes: Any = 0, chunk: int | None = None) -> Callable:
    """Lifts a function of one independent run to many runs, with the meaning of ``jax.vmap``.

    Runs (seeds, hyperparameters) do not communicate. They are split over all devices, unless
    :func:`use` splits clients over them.

    Args:
        fn: a function of the arrays of one run.
        in_axes: as for ``jax.vmap``, with axes 0 (one entry per run) and None (shared).
        chunk: as for :func:`per_client`.

    Returns:
        A function whose results lead with the replica axis ``[S, ...]``.

    Raises:
        ValueError: if chunk < 1.

    Example:
        >>> step = lambda x, rate: x - rate * 2 * x  # of f(x) = x^2
        >>> jc.layout.per_replica(step, (None, 0))(1.0, jnp.array([0.0, 0.25, 0.5])).tolist()
        [1.0, 0.5, 0.0]
    """
    checks.counts(chunk=chunk)

    def mapped(*args: PyTree) -> PyTree:
        own, shared, merge = split_axes(args, in_axes)

        def local(own: list, shared: list) -> PyTree:
            return in_chunks(lambda o: fn(*merge(o, shared)), (own,), chunk)

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
        # S is not divisible by the number of devices, so the result is replicated. Otherwise the
        # compiler may place it on fewer devices, and a later call, on all of them, would refuse it.
        whole = NamedSharding(runs, P())
        cut = jax.tree.map(lambda leaf: leaf[:total], results)
        return jax.lax.with_sharding_constraint(cut, whole)

    return mapped
