"""Attacks: what byzantine neighbours send to ONE receiver.

An attack is a function ``attack(own, received, weights, byzantine) -> messages``: ``own`` is what
the receiver itself shares in this round, leaves ``[...]``; ``received`` what its neighbours would
honestly send, ``[K, ...]``; ``weights`` are ``[K]``, 0 where nothing arrives; ``byzantine`` is bool
``[K]``. The messages have leaves ``[K, ...]``, of which only byzantine slots are used, or ``[...]``
where all of them send the same. So attackers are omniscient, work together, and may tell every
neighbour something else. Attacks that ask for more name it as keyword arguments:

    key        random key of this receiver and round        step     finished rounds, int32 []
    receiver   number of the receiver, int32 []              senders  int32 [K]
    sent       what every client shares, leaves [n, ...]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import weighted_sum
from jcollab.core import Array, Attack, PyTree, Wire
from jcollab.topology import byzantine_mask


def dissensus(epsilon: Any = 1.5, *, uniform: bool = False) -> Attack:
    """Pushes the receiver away from its honest neighbours, and so divides the graph.

        x_i - epsilon ( sum_{j honest} w_ij (x_j - x_i) ) / ( sum_{j byzantine} w_ij )

    Under plain gossip the receiver moves by (1 - epsilon) of what its honest neighbours ask for:
    epsilon = 1 freezes it, larger ones turn it round.

    Args:
        epsilon: may be traced.
        uniform: takes equal weights, for receivers whose rule uses none.

    Source: He, Karimireddy and Jaggi 2022, arXiv 2202.01545.
    """

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        weights = (weights > 0).astype(weights.dtype) if uniform else weights
        good, bad = jnp.where(byzantine, 0, weights), jnp.where(byzantine, weights, 0).sum()
        push = jnp.where(bad > 0, epsilon / jnp.where(bad > 0, bad, 1), 0)

        def message(x: Array, messages: Array) -> Array:
            return x - push.astype(x.dtype) * weighted_sum(good, messages, x)

        return jax.tree.map(message, own, messages)

    return attack


def alie(z: Any = None, *, n: int | None = None, byzantine: int | None = None) -> Attack:
    """A little is enough: hides inside the spread of the honest values, ``mean - z std``.

    Mean and (unbiased) standard deviation are those of the receiver's own value and its honest
    neighbours', coordinate by coordinate.

    Args:
        z: number of standard deviations, may be traced; None takes :func:`alie_z` of the next two.
        n: number of all clients.
        byzantine: number of byzantine ones among them.

    Raises:
        ValueError: if neither z nor both numbers are given.

    Source: Baruch et al. 2019, arXiv 1902.06156.
    """
    if z is None:
        if n is None or byzantine is None:
            raise ValueError("z must be given, or n and byzantine to compute it from")
        z = alie_z(n, byzantine)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        good = ~byzantine & (weights > 0)

        def message(x: Array, messages: Array) -> Array:
            mean = _honest_mean(x, messages, good)
            squares = jnp.square(x - mean) + weighted_sum(good, jnp.square(messages - mean))
            spread = squares / jnp.maximum(good.sum(), 1).astype(x.dtype)
            return mean - z * jnp.sqrt(spread)

        return jax.tree.map(message, own, messages)

    return attack


def alie_z(n: int, byzantine: int) -> float:
    """The largest z at which ALIE still wins a majority of the honest: ``Phi^-1((n-m-s)/(n-m))``.

    with ``s = floor(n/2 + 1) - m``.

    Args:
        n: number of all clients.
        byzantine: m, 0 <= m < n/2.

    Raises:
        ValueError: if m is out of range.

    Example:
        >>> round(jc.channels.attacks.alie_z(20, 4), 4)
        0.1573
    """
    from scipy.special import ndtri  # slow to import

    if not 0 <= 2 * byzantine < n:
        raise ValueError(f"byzantine must be in 0..{(n - 1) // 2}, got {byzantine} for n={n}")
    supporters = math.floor(n / 2 + 1) - byzantine
    return float(ndtri((n - byzantine - supporters) / (n - byzantine)))


def inner_product_manipulation(epsilon: Any = 0.1) -> Attack:
    """Sends ``-epsilon`` times the mean of the receiver's and its honest neighbours' values (IPM).

    Source: Xie et al. 2019, arXiv 1903.03936.
    """

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        good = ~byzantine & (weights > 0)
        return jax.tree.map(lambda x, m: -epsilon * _honest_mean(x, m, good), own, messages)

    return attack


def bit_flip() -> Attack:
    """Every attacker sends its own honest value with the sign turned: ``-x_k``."""
    return lambda own, messages, weights, byzantine, context: jax.tree.map(jnp.negative, messages)


def gaussian(scale: Any) -> Attack:
    """Every attacker adds noise to its own honest value: ``x_k + N(0, scale^2)``.

    Raises:
        ValueError: if the scale is negative or no number.
    """
    checks.number("scale", scale, at_least=0)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        leaves, structure = jax.tree.flatten(messages)
        keys = jax.random.split(context.key, len(leaves))
        noisy = [
            leaf + scale * jax.random.normal(k, leaf.shape, leaf.dtype)
            for leaf, k in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, noisy)

    return attack


def mimic(client: int | None = None) -> Attack:
    """All attackers repeat one honest client, which thus counts too much.

    Nothing that they send looks wrong; with heterogeneous data it does harm all the same.

    Args:
        client: whom to repeat; None for that honest neighbour of the receiver that is farthest
            from the mean of the receiver's and its honest neighbours' values.

    Source: Karimireddy, He and Jaggi 2020, arXiv 2006.09365.
    """

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        if client is not None:
            return jax.tree.map(lambda leaf, x: leaf[client].astype(x.dtype), context.sent, own)
        good = ~byzantine & (weights > 0)

        def distance(x: Array, messages: Array) -> Array:
            away = jnp.square(messages - _honest_mean(x, messages, good))
            return away.reshape(len(messages), -1).sum(1)

        far = sum(jax.tree.leaves(jax.tree.map(distance, own, messages)))
        chosen = jnp.argmax(jnp.where(good, far, -1))
        return jax.tree.map(lambda leaf: leaf[chosen], messages)

    return attack


def choose(attacks: tuple[Attack, ...] | list[Attack], index: Any) -> Attack:
    """One of several attacks by a number that may be traced, for sweeps in one program.

    Args:
        attacks: the attacks.
        index: which one, an integer in 0..len(attacks)-1.

    Raises:
        ValueError: if there is none.
    """
    if not attacks:
        raise ValueError("attacks must hold at least one attack, got none")

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        slots = len(weights)

        def run(one: Attack) -> Callable[[], PyTree]:
            def branch() -> PyTree:
                return fill_slots(one(own, messages, weights, byzantine, context), own, slots)

            return branch

        return jax.lax.switch(index, [run(one) for one in attacks])

    return attack


def only(attack: Attack, *fields: str) -> Attack:
    """Attacks some fields of messages that are NamedTuples, and leaves the others honest.

    Args:
        attack: any attack, which sees these fields alone, as a dictionary.
        *fields: their names, ``"values"`` of :class:`jcollab.objectives.prototypes.Prototypes` say.

    Raises:
        ValueError: without a field; when it is used, if messages have no such field.
    """
    if not fields:
        raise ValueError("fields must hold at least one name, got none")

    def part(tree: Any) -> dict[str, PyTree]:
        if missing := set(fields) - set(getattr(tree, "_fields", ())):
            raise ValueError(
                f"fields must be among those of the messages, "
                f"{getattr(tree, '_fields', 'which have none')}, got {sorted(missing)}"
            )
        return {name: getattr(tree, name) for name in fields}

    def partial_attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        seen = context._replace(sent=part(context.sent), own=part(context.own))
        wrong = attack(part(own), part(messages), weights, byzantine, seen)
        return messages._replace(**fill_slots(wrong, part(own), len(weights)))

    return partial_attack


def fill_slots(messages: PyTree, own: PyTree, slots: int) -> PyTree:
    """Messages in the form ``[K, ...]`` and the type of ``own``."""

    def each(message: Array, x: Array) -> Array:
        shape = (slots, *x.shape)
        return jnp.broadcast_to(message, shape).astype(x.dtype)

    return jax.tree.map(each, messages, own)


def flip_labels(sample: Callable, byzantine: Any, num_classes: int) -> Callable:
    """Lets byzantine clients train on wrong labels, ``y -> C - 1 - y``: an attack on the data.

    Args:
        sample: ``sample(data, key, step) -> batch`` with a field ``y``, int ``[n, ...]``.
        byzantine: bool ``[n]`` or a list of clients.
        num_classes: C.

    Returns:
        A hook of the same form.
    """

    def flipped(data: PyTree, key: Array, step: Array) -> Any:
        batch = sample(data, key, step)
        mask = jnp.asarray(byzantine_mask(byzantine, batch.y.shape[0]))
        mask = mask.reshape(-1, *(1,) * (batch.y.ndim - 1))
        return batch._replace(y=jnp.where(mask, num_classes - 1 - batch.y, batch.y))

    return flipped


def _honest_mean(x: Array, messages: Array, good: Array) -> Array:
    return (x + weighted_sum(good, messages)) / (1 + good.sum()).astype(x.dtype)
