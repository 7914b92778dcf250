"""Channels that lose, delay or replace messages, and chains of channels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks, layout
from jcollab.channels.attacks.combine import fill_slots
from jcollab.core import Array, Attack, Channel, PyTree, Wire
from jcollab.topology import byzantine_mask


def reliable() -> Channel:
    """Builds a channel in which every message arrives unchanged.

    Example:
        >>> channel = jc.channels.reliable()
        >>> mixer = jc.neighborhood(jc.topology.ring(3), jc.aggregators.weighted(), channel)
        >>> x, context = jnp.array([0.0, 3.0, 6.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()
        [3.0, 3.0, 3.0]
    """
    return Channel(lambda inbox: (), lambda inbox, arrived, s, context: (inbox, arrived, s))


def drop(probability: Any) -> Channel:
    """Builds a channel that loses messages independently: ``arrived_ik &= u_ik >= p``, u uniform.

    Args:
        probability: p in [0, 1]; may be traced.

    Raises:
        ValueError: if p is outside [0, 1].

    Example:
        >>> channel = jc.channels.drop(1.0)
        >>> mixer = jc.neighborhood(jc.topology.ring(3), jc.aggregators.weighted(), channel)
        >>> x, context = jnp.array([0.0, 3.0, 6.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()  # nothing arrives
        [0.0, 3.0, 6.0]
    """
    checks.number("probability", probability, at_least=0, at_most=1)

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, context: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        slots = arrived.shape[1]
        # One key for each receiver: losses do not depend on which rows of the inbox are passed
        # together. float32 makes them the same under x64.
        keys = layout.client_keys(context.key, context.receiver)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, (slots,), jnp.float32))(keys)
        return inbox, arrived & (uniform >= probability), s

    return Channel(lambda inbox: (), update)


def delayed(rounds: int) -> Channel:
    """Builds a channel that delays messages by d rounds; none arrives in the first d rounds.

    Args:
        rounds: d >= 0.

    Raises:
        ValueError: if rounds < 0.

    Example:
        >>> channel = jc.channels.delayed(1)
        >>> mixer = jc.neighborhood(jc.topology.ring(3), jc.aggregators.weighted(), channel)
        >>> x, update = jnp.array([0.0, 3.0, 6.0]), jax.jit(mixer.update)
        >>> s = mixer.init(x)
        >>> for t in range(2):
        ...     mixed, s = update(x, s, jc.core.Round(jax.random.key(0), t))
        ...     mixed.tolist()
        [0.0, 3.0, 6.0]
        [3.0, 3.0, 3.0]
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
        # A ring buffer [r, K, d, ...]: the slot of this round contains the messages of d rounds
        # ago, which are read before the new ones overwrite them.
        now, at = (inbox, arrived), context.step % rounds
        due = jax.tree.map(lambda stored: stored[:, :, at], s)
        return *due, jax.tree.map(lambda stored, new: stored.at[:, :, at].set(new), s, now)

    return Channel(init, update)


def byzantine(attack: Attack, clients: Any) -> Channel:
    """Builds a channel that replaces the messages of byzantine clients by messages of an attack.

    In a chain, earlier channels change the honest messages that the attack receives, and later
    channels change all messages.

    Args:
        attack: computes the messages of byzantine clients, see :mod:`jcollab.channels.attacks`.
        clients: the byzantine clients, bool ``[n]`` or a list of their indices.

    Raises:
        TypeError: if ``attack`` is not a function.
        ValueError: when used, if ``clients`` is neither a mask nor a list of the n clients, or if
            no client is honest.

    Example:
        >>> channel = jc.channels.byzantine(jc.channels.attacks.bit_flip(), [2])
        >>> mixer = jc.neighborhood(jc.topology.ring(3), jc.aggregators.weighted(), channel)
        >>> x, context = jnp.array([0.0, 3.0, 6.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()
        [-1.0, -1.0, 3.0]
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
            # Padded slots contain the receiver, which may be byzantine, but nothing arrives in
            # them.
            bad = mask[senders] & arrived
            # Messages may be wider than the values, and attacks compute in the dtype of messages.
            own = jax.tree.map(lambda leaf, m: leaf.astype(m.dtype), own, box)
            # Another key for every receiver, so that attackers send different noise to each.
            key = jax.random.fold_in(context.key, receiver)
            wire = Wire(key, context.step, context.sent, own, receiver, senders, weights)
            # A message that was lost before has no influence on the attack.
            present = jnp.where(arrived, weights, 0)
            messages = attack(own, box, present, bad, wire)

            # An attack computes messages in all slots; honest ones are kept here.
            def replace(message: Array, honest: Array) -> Array:
                return jnp.where(bad.reshape(-1, *(1,) * (honest.ndim - 1)), message, honest)

            return jax.tree.map(replace, fill_slots(messages, own, len(bad)), box)

        replaced = jax.vmap(one)(
            inbox, arrived, context.own, context.receiver, context.senders, context.weights
        )
        return replaced, arrived, s

    return Channel(lambda inbox: (), update)


def chain(*parts: Channel) -> Channel:
    """Builds a channel in which messages pass through several channels in order.

    Args:
        *parts: channels; without any, messages arrive unchanged.

    Raises:
        TypeError: if an argument is not a Channel.

    Example:
        >>> channel = jc.channels.chain(jc.channels.delayed(1), jc.channels.reliable())
        >>> mixer = jc.neighborhood(jc.topology.ring(3), jc.aggregators.weighted(), channel)
        >>> x, context = jnp.array([0.0, 3.0, 6.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()  # nothing yet
        [0.0, 3.0, 6.0]
    """
    checks.kind(Channel, **{f"parts[{i}]": part for i, part in enumerate(parts)})

    def update(
        inbox: PyTree, arrived: Array, s: PyTree, context: Wire
    ) -> tuple[PyTree, Array, PyTree]:
        states = []
        for i, (part, state) in enumerate(zip(parts, s, strict=True)):
            # Parts of one kind, such as two drops, must not draw the same numbers.
            own = context._replace(key=jax.random.fold_in(context.key, i))
            inbox, arrived, state = part.update(inbox, arrived, state, own)
            states.append(state)
        return inbox, arrived, tuple(states)

    return Channel(lambda inbox: tuple(part.init(inbox) for part in parts), update)
