"""Channels: what happens to messages between sender and receiver."""

from __future__ import annotations

from typing import Any

import jax

from jcollab import layout
from jcollab.core import Array, Channel, PyTree, Wire


def reliable() -> Channel:
    """Every message arrives as it was sent."""
    return Channel(lambda inbox: (), lambda inbox, arrived, s, wire: (inbox, arrived, s))


def drop(probability: Any) -> Channel:
    """Loses every message independently: ``arrived_ik &= u_ik >= p`` with u uniform in [0, 1).

    Args:
        probability: p in [0, 1]; may be a traced value.

    Raises:
        ValueError: if p lies outside [0, 1].
    """
    if not isinstance(probability, jax.core.Tracer) and not 0 <= probability <= 1:
        raise ValueError(f"probability must be in [0, 1], got {probability}")

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, wire: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        n, slots = arrived.shape
        keys = layout.client_keys(wire.key, n)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, (slots,)))(keys)
        return inbox, arrived & (uniform >= probability), s

    return Channel(lambda inbox: (), update)


def chain(*parts: Channel) -> Channel:
    """Messages pass through the channels in the given order."""

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, wire: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        states = []
        for i, (part, state) in enumerate(zip(parts, s, strict=True)):
            own = wire._replace(key=jax.random.fold_in(wire.key, i))
            inbox, arrived, state = part.update(inbox, arrived, state, own)
            states.append(state)
        return inbox, arrived, tuple(states)

    return Channel(lambda inbox: tuple(part.init(inbox) for part in parts), update)
