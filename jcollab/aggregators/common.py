"""What rules share: their types, the smallest neighbourhood that they can bear, and distances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.core import Array, PyTree, offer

Rule = Callable[..., PyTree]
UNROLLED_UP_TO = 128


class StatefulRule(NamedTuple):
    """A rule with a memory, for one receiver.

    Attributes:
        init: ``init(own) -> s``.
        update: ``update(own, received, weights, s) -> (new, s)``, and the keywords of a rule.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]


def as_stateful(rule: Rule | StatefulRule, argument: str = "rule") -> StatefulRule:
    """Any rule in the form with a state; TypeError if it is neither."""
    if isinstance(rule, StatefulRule):
        return rule
    if not callable(rule):
        raise TypeError(f"{argument} must be a function or StatefulRule, got {type(rule).__name__}")

    def update(own: PyTree, received: PyTree, weights: Array, s: PyTree, **context: Any) -> Any:
        return offer(rule, own, received, weights, **context), s

    return StatefulRule(lambda own: (), update)


def apply(rule: Rule, own: PyTree, received: PyTree, weights: Any = None, **context: Any) -> PyTree:
    """One aggregation outside of any mixer.

    Args:
        rule: a rule without a memory.
        own: pytree ``[...]``.
        received: pytree ``[K, ...]``.
        weights: ``[K]``; None for ``1 / (K + 1)`` each.
        **context: what the rule may ask for.

    Example:
        >>> rule = jc.aggregators.coordinate_median()
        >>> apply(rule, jnp.zeros(2), jnp.array([[1.0, 5.0], [2.0, -3.0]]))
        Array([1., 0.], dtype=float32)
    """
    if weights is None:
        slots = len(jax.tree.leaves(received)[0])
        weights = jnp.full(slots, 1 / (slots + 1))
    return offer(rule, own, received, jnp.asarray(weights), **context)


def least_inputs(count: int, reason: str) -> Callable[[Rule], Rule]:
    """Notes on a rule how many inputs, the own value included, it cannot do without."""

    def note(rule: Any) -> Rule:
        rule.least_inputs = (count, reason)
        return rule

    return note


def check_neighborhoods(rule: Rule | StatefulRule, inputs: Any) -> None:
    """ValueError if a rule cannot work with the number of inputs of some receiver.

    Args:
        rule: the rule.
        inputs: int ``[r]``, inputs of each receiver, the own value included where it counts.
    """
    noted = rule.update if isinstance(rule, StatefulRule) else rule
    count, reason = getattr(noted, "least_inputs", (1, ""))
    fewest = int(np.min(inputs))
    if fewest < count:
        raise ValueError(
            f"{reason} needs at least {count} inputs, but the smallest neighbourhood has {fewest}"
        )


def check_slots(rule: Any, received: PyTree, own_counts: bool) -> None:
    """The same for one receiver, from the shapes."""
    check_neighborhoods(rule, len(jax.tree.leaves(received)[0]) + own_counts)


def column(weights: Array, like: Array) -> Array:
    """``[K]`` in the shape that multiplies messages ``[K, ...]`` with the own value's shape."""
    return weights.reshape(-1, *(1,) * (like.ndim - 1)).astype(like.dtype)


def squared_distances(own: PyTree, received: PyTree) -> Array:
    """``||x_k - x||^2`` of every message over the whole pytree, ``[K]``."""

    def each(x: Array, messages: Array) -> Array:
        return jnp.sum(jnp.square(messages - x).reshape(len(messages), -1), axis=1)

    return jax.tree.reduce(jnp.add, jax.tree.map(each, own, received))


def weighted_sum(weights: Array, messages: Array, center: Array | float = 0.0) -> Array:
    """``sum_k w_k (x_k - c)`` over messages ``[K, ...]``; one of weight 0 may hold anything.

    Rows are added one after the other, which compiles to a single pass over memory; a reduction
    over the leading axis takes 15 times as long on a CPU.
    """
    w = weights.astype(messages.dtype)

    def term(k: Any) -> Array:
        return jnp.where(w[k] != 0, w[k] * (messages[k] - center), 0)

    if len(w) <= UNROLLED_UP_TO:
        return functools.reduce(jnp.add, map(term, range(len(w))))
    return jax.lax.fori_loop(0, len(w), lambda k, total: total + term(k), 0 * messages[0])


def weighted_step(own: PyTree, received: PyTree, weights: Array) -> PyTree:
    """``x + sum_k w_k (x_k - x)`` over the whole pytree."""
    return jax.tree.map(lambda x, m: x + weighted_sum(weights, m, x), own, received)


def combine(own_weight: Any, own: PyTree, received: PyTree, weights: Array) -> PyTree:
    """``a x + sum_k w_k x_k`` over the whole pytree."""

    def each(x: Array, messages: Array) -> Array:
        return jnp.asarray(own_weight, x.dtype) * x + weighted_sum(weights, messages)

    return jax.tree.map(each, own, received)
