"""Algorithms under jax.pmap."""

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
    """Runs an algorithm under ``jax.pmap``, with its client axis split over devices.

    Per-client work is split over the devices. Values that clients exchange are gathered on each
    device, so every mixer works unchanged. Sharding (:func:`use`) moves less data; prefer it where
    it is available.

    Args:
        algorithm: any algorithm.
        num_devices: number of devices to use; None for all.

    Returns:
        An algorithm with states and batches of the same form. Data from which sampled clients draw
        (:mod:`jcollab.data.batches`) is copied to every device.

    Raises:
        ValueError: if there are fewer devices than requested; in ``update``, if a client leaf has
            no client axis.

    Example:
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.25), jc.all_reduce())
        >>> split = jc.layout.pmap(algorithm, num_devices=1)
        >>> state = split.init(jnp.zeros(2))
        >>> split.update(state, jnp.array([0.0, 4.0]), jax.random.key(0))[0].clients.params.tolist()
        [1.0, 1.0]
    """
    checks.functions(**{f"algorithm.{f}": getattr(algorithm, f, None) for f in ("init", "update")})
    over = mesh(num_devices)
    devices = list(over.devices.flat)
    count, split_rows = len(devices), NamedSharding(over, P(CLIENTS))

    def update(state: PyTree, batch: PyTree, key: jax.Array) -> tuple[PyTree, dict]:
        draws = hasattr(batch, "rows")  # data from which a round draws: it has no client axis
        own_batch, drawn = ((), batch) if draws else (batch, ())
        n = num_clients((state.clients, own_batch), ("state.clients", "batch"))

        def split(leaf: jax.Array) -> jax.Array:
            filled = fill(leaf, count)
            return filled.reshape(count, -1, *filled.shape[1:])

        def body(rows: tuple[PyTree, PyTree], common: tuple) -> tuple:
            clients, own = jax.tree.map(lambda leaf: gather_rows(leaf)[:n], rows)
            drawn, shared, step, key = common
            # set while the update is traced, so that per_client splits its work over this pmap
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
        # rows of an earlier round may be on every device; pmap requires one part on each
        if not checks.traced(parts):
            parts = jax.device_put(parts, split_rows)
        own, shared, step, metrics = mapped(parts, (drawn, state.shared, state.step, key))
        clients = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], own)
        return type(state)(clients, shared, step), metrics

    # a round that gets sampled rows only would run outside of this pmap
    cohort = algorithm.cohort and algorithm.cohort._replace(round=None)
    return algorithm._replace(update=update, cohort=cohort)
