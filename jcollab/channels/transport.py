"""Channels: what happens to messages between sender and receiver."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks, layout
from jcollab.channels.attacks import fill_slots
from jcollab.core import Array, Attack, Channel, PyTree, Wire
from jcollab.topology import byzantine_mask


def reliable() -> Channel:
    """Every message arrives unchanged."""
    return Channel(lambda inbox: (), lambda inbox, arrived, s, context: (inbox, arrived, s))


def drop(probability: Any) -> Channel:
    """Loses every message independently: ``arrived_ik &= u_ik >= p`` with u uniform in [0, 1).

    Args:
        probability: p in [0, 1]; may be traced.

    Raises:
        ValueError: if p lies outside [0, 1].
    """
    checks.number("probability", probability, at_least=0, at_most=1)

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, context: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        slots = arrived.shape[1]
        keys = layout.client_keys(context.key, context.receiver)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, (slots,), jnp.float32))(keys)
        return inbox, arrived & (uniform >= probability), s

    return Channel(lambda inbox: (), update)


def delayed(rounds: int) -> Channel:
    """Every message arrives d rounds later; none arrives in the first d rounds.

    Args:
        rounds: d >= 0.

    Raises:
        ValueError: if rounds < 0.
    """
    checks.count("rounds", rounds, 0)
    if rounds == 0:
        return reliable()

    def init(inbox: PyTree) -> PyTree:
        def buffer(leaf: Array) -> Array:
            return jnp.zeros((*leaf.shape[:2], rounds, *leaf.shape[2:]), leaf.dtype)

        shape = jax.tree.leaves(inbox)[0].shape[:2]
        return jax.tree.map(buffer, inbox), jnp.zeros((*shape, rounds), bool)

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, context: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        now, at = (inbox, arrived), context.step % rounds
        due = jax.tree.map(lambda stored: stored[:, :, at], s)
        return *due, jax.tree.map(lambda stored, new: stored.at[:, :, at].set(new), s, now)

    return Channel(init, update)


def byzantine(attack: Attack, clients: Any) -> Channel:
    """Some clients send the messages of an attack instead of their own.

    In a chain, channels before this one change the honest messages that the attack gets, and
    channels after it change all messages alike.

    Args:
        attack: the messages of byzantine clients, see :mod:`jcollab.channels.attacks`.
        clients: the byzantine clients, bool ``[n]`` or a list of their numbers.

    Raises:
        TypeError: if ``attack`` is no function.
        ValueError: when it is used, if ``clients`` is no mask of the n clients, or leaves no client
            honest.
    """
    checks.functions(attack=attack)

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, context: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        mask = jnp.asarray(byzantine_mask(clients, layout.num_clients(context.sent)))

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
            key = jax.random.fold_in(context.key, receiver)
            wire = Wire(key, context.step, context.sent, own, receiver, senders, weights)
            present = jnp.where(arrived, weights, 0)
            messages = attack(own, box, present, bad, wire)

            def replace(message: Array, honest: Array) -> Array:
                return jnp.where(bad.reshape(-1, *(1,) * (honest.ndim - 1)), message, honest)

            return jax.tree.map(replace, fill_slots(messages, own, len(bad)), box)

        replaced = jax.vmap(one)(
            inbox, arrived, context.own, context.receiver, context.senders, context.weights
        )
        return replaced, arrived, s

    return Channel(lambda inbox: (), update)


def chain(*parts: Channel) -> Channel:
    """Messages pass through the channels in the given order.

    Args:
        *parts: channels; without any, messages arrive unchanged.

    Raises:
        TypeError: if one of them is no channel.
    """
    checks.kind(Channel, **{f"parts[{i}]": part for i, part in enumerate(parts)})

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, context: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        states = []
        for i, (part, state) in enumerate(zip(parts, s, strict=True)):
            own = context._replace(key=jax.random.fold_in(context.key, i))
            inbox, arrived, state = part.update(inbox, arrived, state, own)
            states.append(state)
        return inbox, arrived, tuple(states)

    return Channel(lambda inbox: tuple(part.init(inbox) for part in parts), update)
