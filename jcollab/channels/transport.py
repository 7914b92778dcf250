"""Channels: what happens to messages between sender and receiver."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import layout
from jcollab.channels.attacks import Attack, fill_slots
from jcollab.core import Array, Channel, PyTree, Wire, offer
from jcollab.topology import byzantine_mask


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
        slots = arrived.shape[1]
        keys = layout.client_keys(wire.key, wire.receivers)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, (slots,)))(keys)
        return inbox, arrived & (uniform >= probability), s

    return Channel(lambda inbox: (), update)


def delayed(rounds: int) -> Channel:
    """Every message arrives d rounds after it was sent; in the first d rounds none does.

    Args:
        rounds: d >= 0.

    Raises:
        ValueError: if rounds < 0.
    """
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0, got {rounds}")
    if rounds == 0:
        return reliable()

    def init(inbox: PyTree) -> PyTree:
        def buffer(leaf: Array) -> Array:
            return jnp.zeros((*leaf.shape[:2], rounds, *leaf.shape[2:]), leaf.dtype)

        shape = jax.tree.leaves(inbox)[0].shape[:2]
        return jax.tree.map(buffer, inbox), jnp.zeros((*shape, rounds), bool)

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, wire: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        now, at = (inbox, arrived), wire.step % rounds
        due = jax.tree.map(lambda stored: stored[:, :, at], s)
        return *due, jax.tree.map(lambda stored, new: stored.at[:, :, at].set(new), s, now)

    return Channel(init, update)


def byzantine(attack: Attack, who: Any) -> Channel:
    """Some clients do not send what they should.

    In a chain, channels before this one decide what the attackers see of the honest messages, and
    those after it treat all messages alike.

    Args:
        attack: what they send, see :mod:`jcollab.channels.attacks`.
        who: bool ``[n]``.

    Raises:
        TypeError: if ``attack`` is not callable.
        ValueError: when it is used, if ``who`` is no mask of the n clients.
    """
    if not callable(attack):
        raise TypeError(f"attack must be a function, got {type(attack).__name__}")

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, wire: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        mask = jnp.asarray(byzantine_mask(who, layout.num_clients(wire.sent)))

        def one(
            box: PyTree,
            arrived: Array,
            own: PyTree,
            receiver: Array,
            senders: Array,
            weights: Array,
        ) -> PyTree:
            bad = mask[senders] & arrived
            own = jax.tree.map(lambda leaf, m: leaf.astype(m.dtype), own, box)
            messages = offer(
                attack,
                own,
                box,
                jnp.where(arrived, weights, 0),
                bad,
                key=jax.random.fold_in(wire.key, receiver),
                step=wire.step,
                receiver=receiver,
                senders=senders,
                sent=wire.sent,
            )

            def replace(message: Array, honest: Array) -> Array:
                return jnp.where(bad.reshape(-1, *(1,) * (honest.ndim - 1)), message, honest)

            return jax.tree.map(replace, fill_slots(messages, own, len(bad)), box)

        lied = jax.vmap(one)(inbox, arrived, wire.own, wire.receivers, wire.neighbors, wire.weights)
        return lied, arrived, s

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
