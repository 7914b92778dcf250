"""Attacks built from other attacks, and the form in which channels use their messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import Array, Attack, PyTree, Wire


def choose(attacks: tuple[Attack, ...] | list[Attack], index: Any) -> Attack:
    """Builds an attack that selects one of several by an index, for sweeps in one program.

    Args:
        attacks: the attacks.
        index: index of the attack, in 0..len(attacks)-1; may be traced.

    Raises:
        TypeError: if an attack is not a function.
        ValueError: without an attack, or if ``index`` is out of range.

    Example:
        >>> own, messages = jnp.array([1.0]), jnp.array([[3.0], [5.0]])
        >>> weights, byzantine = jnp.array([0.25, 0.25]), jnp.array([False, True])
        >>> kinds = [jc.channels.attacks.bit_flip(), jc.channels.attacks.mimic()]
        >>> for index in range(2):
        ...     attack = jc.channels.attacks.choose(kinds, index)
        ...     attack(own, messages, weights, byzantine, None).tolist()
        [[-3.0], [-5.0]]
        [[3.0], [3.0]]
    """
    if not attacks:
        raise ValueError("attacks must be at least one, got none")
    checks.functions(**{f"attacks[{i}]": one for i, one in enumerate(attacks)})
    checks.count("index", index, 0, len(attacks) - 1)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        slots = len(weights)

        def run(one: Attack) -> Callable[[], PyTree]:
            # Branches of a switch need equal shapes and dtypes, so every attack fills all slots.
            def branch() -> PyTree:
                return fill_slots(one(own, messages, weights, byzantine, context), own, slots)

            return branch

        return jax.lax.switch(index, [run(one) for one in attacks])

    return attack


def only(attack: Attack, *fields: str) -> Attack:
    """Builds an attack on some fields of messages that are NamedTuples; other fields stay honest.

    Args:
        attack: any attack; it receives these fields alone, as a dictionary.
        *fields: names of the fields, for example ``"values"`` of
            :class:`jcollab.objectives.prototypes.Prototypes`.

    Raises:
        TypeError: if ``attack`` is not a function.
        ValueError: without a field; when used, if messages have no such field.

    Example:
        >>> prototypes = jc.objectives.prototypes.Prototypes
        >>> own, messages = prototypes(jnp.ones(1), jnp.ones(1)), prototypes(*jnp.ones((2, 1, 1)))
        >>> attack = jc.channels.attacks.only(jc.channels.attacks.bit_flip(), "values")
        >>> wire = jc.core.Wire(None, None, own, own, None, None, None)  # what all clients send
        >>> wrong = attack(own, messages, jnp.ones(1), jnp.array([True]), wire)
        >>> wrong.values.tolist(), wrong.weights.tolist()
        ([[-1.0]], [[1.0]])
    """
    checks.functions(attack=attack)
    if not fields:
        raise ValueError("fields must be at least one name, got none")

    def part(tree: Any) -> dict[str, PyTree]:
        if missing := set(fields) - set(getattr(tree, "_fields", ())):
            known = getattr(tree, "_fields", "which have none")
            raise ValueError(
                f"fields must be among the fields of the messages, {known}, got {sorted(missing)}"
            )
        return {name: getattr(tree, name) for name in fields}

    def partial_attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        # `sent` and `own` keep the same fields, so that their structures match the messages.
        seen = context._replace(sent=part(context.sent), own=part(context.own))
        wrong = attack(part(own), part(messages), weights, byzantine, seen)
        return messages._replace(**fill_slots(wrong, part(own), len(weights)))

    return partial_attack


def fill_slots(messages: PyTree, own: PyTree, slots: int) -> PyTree:
    """Broadcasts the messages of an attack to leaves ``[K, ...]`` in the dtypes of ``own``.

    Raises:
        ValueError: if a leaf is neither ``[K, ...]`` nor ``[...]``.
    """

    def each(message: Array, x: Array) -> Array:
        shape = (slots, *x.shape)
        if jnp.shape(message) not in (shape, x.shape):
            raise ValueError(
                f"attack must return messages of shape {list(shape)} or {list(x.shape)}, got "
                f"{list(jnp.shape(message))}"
            )
        return jnp.broadcast_to(message, shape).astype(x.dtype)

    return jax.tree.map(each, messages, own)
