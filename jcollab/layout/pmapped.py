"""Any algorithm under jax.pmap."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jcollab import checks
from jcollab.layout.clients import num_clients
from jcollab.layout.devices import CLIENTS, PMAPPED, fill, gather_rows, mesh, own_rows

PyTree = Any


def pmap(algorithm: Any, num_devices: int | None = None) -> Any:
    """The same algorithm under ``jax.pmap``, its client axis split as ``[devices, n / devices]``.

    Work of single clients is split over the devices; what they exchange is gathered on each of
    them, so that any mixer runs as it is. Sharding (:func:`use`) moves less and is the better
    choice where it is available.

    Args:
        algorithm: any algorithm.
        num_devices: how many devices to use; None for all.

    Returns:
        An algorithm with states and batches of the same form. Data from which sampled clients draw
        (:mod:`jcollab.data.batches`) lie on every device.

    Raises:
        ValueError: if there are fewer devices than asked for; in ``update``, if a client leaf has
            no client axis.
    """
    checks.functions(**{f"algorithm.{f}": getattr(algorithm, f, None) for f in ("init", "update")})
    over = mesh(num_devices)
    devices = list(over.devices.flat)
    count, split_rows = len(devices), NamedSharding(over, P(CLIENTS))

    def update(state: PyTree, batch: PyTree, key: jax.Array) -> tuple[PyTree, dict]:
        draws = hasattr(batch, "rows")
        own_batch, drawn = ((), batch) if draws else (batch, ())
        n = num_clients((state.clients, own_batch), ("state.clients", "batch"))

        def split(leaf: jax.Array) -> jax.Array:
            filled = fill(leaf, count)
            return filled.reshape(count, -1, *filled.shape[1:])

        def body(rows: tuple[PyTree, PyTree], common: tuple) -> tuple:
            clients, own = jax.tree.map(lambda leaf: gather_rows(leaf)[:n], rows)
            drawn, shared, step, key = common
            token = PMAPPED.set(count)
            try:
                before = type(state)(clients, shared, step)
                new, metrics = algorithm.update(before, drawn if draws else own, key)
            finally:
                PMAPPED.reset(token)
            own = jax.tree.map(lambda leaf: own_rows(fill(leaf, count), count), new.clients)
            return own, new.shared, new.step, metrics

        mapped = jax.pmap(
            body,
            axis_name=CLIENTS,
            in_axes=(0, None),
            out_axes=(0, None, None, None),
            devices=devices,
        )
        parts = jax.tree.map(split, (state.clients, own_batch))
        if not checks.traced(parts):  # rows of an earlier round may lie on every device
            parts = jax.device_put(parts, split_rows)
        own, shared, step, metrics = mapped(parts, (drawn, state.shared, state.step, key))
        clients = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], own)
        return type(state)(clients, shared, step), metrics

    cohort = algorithm.cohort and algorithm.cohort._replace(round=None)
    return algorithm._replace(update=update, cohort=cohort)
