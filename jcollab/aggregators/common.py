"""Functions that rules share: construction, checks, distances and weighted sums."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks
from jcollab.core import Array, PyTree, Receiver, Rule, widen
from jcollab.theory.averaging import squared_distance

UNROLLED_UP_TO = 128  # the time to compile an unrolled sum grows with the number of messages
BLOCK = 1 << 12  # coordinates at a time
CACHED_UP_TO = 1 << 20  # numbers in the messages that are read at once


def rule(
    function: Callable[[PyTree, PyTree, Array, Receiver], PyTree],
    *,
    min_inputs: int = 1,
    name: str | None = None,
) -> Rule:
    """Builds a rule without state from a plain function; also usable as a decorator.

    Args:
        function: ``function(own, messages, weights, context) -> new`` for one receiver.
        min_inputs: smallest number of inputs, including the own value, that it can combine.
        name: name in error messages; None for the name of the function.

    Raises:
        TypeError: if ``function`` is not callable.
        ValueError: if min_inputs < 1.

    Example:
        >>> @jc.aggregators.rule
        ... def smallest(own, messages, weights, context):
        ...     return jnp.minimum(own, messages.min(0))
        >>> jc.aggregators.apply(smallest, jnp.ones(1), jnp.array([[2.0], [0.5]])).tolist()
        [0.5]
    """
    checks.functions(function=function)
    checks.count("min_inputs", min_inputs)

    def update(
        own: PyTree, messages: PyTree, weights: Array, s: PyTree, context: Receiver
    ) -> tuple[PyTree, PyTree]:
        return function(own, messages, weights, context), s

    shown = getattr(function, "__name__", "rule") if name is None else name
    return Rule(lambda own: (), update, min_inputs, shown)


def apply(
    rule: Rule, own: PyTree, messages: PyTree, weights: Any = None, context: Receiver | None = None
) -> PyTree:
    """Applies a rule once, outside of a mixer, from its initial state.

    Args:
        rule: the rule.
        own: value of the receiver, pytree ``[...]``.
        messages: pytree ``[K, ...]``.
        weights: ``[K]``; None for ``1 / (K + 1)`` each.
        context: context of the rule; None for an empty context.

    Returns:
        The new value, ``[...]``.

    Raises:
        TypeError: if ``rule`` is not a Rule, or a leaf is not real and floating point.
        ValueError: if there are fewer inputs than the rule needs, or shapes do not match.

    Example:
        >>> rule, sent = jc.aggregators.weighted(), jnp.array([[1.0], [2.0]])
        >>> jc.aggregators.apply(rule, jnp.zeros(1), sent, weights=jnp.array([0.5, 0.25])).tolist()
        [1.0]
    """
    check_rule(rule)
    checks.floats("own", own)
    checks.floats("messages", messages)
    context = Receiver() if context is None else context
    slots = len(jax.tree.leaves(messages)[0])
    stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (slots, *jnp.shape(leaf))), own)
    checks.same_shapes("messages", messages, stacked)
    check_inputs(rule, slots + context.own_counts)
    weights = jnp.full(slots, 1 / (slots + 1)) if weights is None else jnp.asarray(weights)
    checks.same_shapes("weights", weights, jnp.ones(slots))
    wide, messages = jax.tree.map(lambda leaf: widen(jnp.asarray(leaf)), (own, messages))
    new, _ = combined(rule, wide, messages, weights, rule.init(wide), context)
    return optax.tree.cast_like(new, own)


def combined(
    rule: Rule, own: PyTree, messages: PyTree, weights: Array, s: PyTree, context: Receiver
) -> tuple[PyTree, PyTree]:
    """Returns ``rule.update(...)``; ValueError unless the new value has the shapes of ``own``."""
    new, s = rule.update(own, messages, weights, s, context)
    checks.same_shapes(f"the result of {rule.name}", new, own)
    return new, s


def check_rule(rule: Any, name: str = "rule") -> None:
    """Raises TypeError unless ``rule`` is a Rule."""
    if not isinstance(rule, Rule):
        raise TypeError(
            f"{name} must be a Rule (jcollab.aggregators.rule builds one from a function), got "
            f"{checks.described(rule)}"
        )


def check_inputs(rule: Rule, inputs: Any) -> None:
    """Raises ValueError if a receiver has fewer inputs than a rule needs.

    Args:
        rule: the rule.
        inputs: int ``[r]``, number of inputs of each receiver, including its own value.
    """
    fewest = int(np.min(inputs))
    if fewest < rule.min_inputs:
        raise ValueError(
            f"rule must work with {fewest} inputs, the fewest of any receiver, got {rule.name}, "
            f"which needs at least {rule.min_inputs}"
        )


def column(weights: Array, like: Array) -> Array:
    """Reshapes weights ``[K]`` so that they broadcast against messages ``[K, ...]``."""
    return weights.reshape(-1, *(1,) * (like.ndim - 1)).astype(like.dtype)


def squared_distances(own: PyTree, messages: PyTree) -> Array:
    """Computes ``||x_k - x||^2`` of every message over the whole pytree, ``[K]``."""
    return jax.tree.reduce(jnp.add, jax.tree.map(_squared_distances, own, messages))


def _squared_distances(x: Array, messages: Array) -> Array:
    x, messages = x.reshape(-1), messages.reshape(len(messages), -1)
    width = len(x)
    if messages.size <= CACHED_UP_TO or width <= BLOCK:
        return jax.vmap(squared_distance, (None, 0))(x, messages)

    # All differences together would not fit into the cache. Sums over blocks are kept for each
    # coordinate of a block, because additions to a single number wait for each other.
    def block(i: Array, total: Array) -> Array:
        start = jnp.minimum(i * BLOCK, width - BLOCK)
        part = jax.lax.dynamic_slice_in_dim(messages, start, BLOCK, 1)
        difference = part - jax.lax.dynamic_slice_in_dim(x, start, BLOCK)
        # The last block overlaps the one before; coordinates that were counted there are masked.
        fresh = jnp.arange(BLOCK) + start >= i * BLOCK
        return total + jnp.where(fresh, difference**2, 0)

    zeros = jnp.zeros((len(messages), BLOCK), jnp.result_type(x, messages))
    return jax.lax.fori_loop(0, -(-width // BLOCK), block, zeros).sum(1)


def weighted_sum(weights: Array, messages: Array, center: Array | float = 0.0) -> Array:
    """Computes ``sum_k w_k (x_k - c)`` over messages ``[K, ...]``; weight 0 excludes even NaN."""
    # Rows are added one after the other, which compiles to a single pass over memory; a reduction
    # over the leading axis is 15 times slower on a CPU.
    w = weights.astype(messages.dtype)

    def term(k: Any) -> Array:
        return jnp.where(w[k] != 0, w[k] * (messages[k] - center), 0)

    if len(w) <= UNROLLED_UP_TO:
        return functools.reduce(jnp.add, map(term, range(len(w))))
    return jax.lax.fori_loop(0, len(w), lambda k, total: total + term(k), 0 * messages[0])


def weighted_step(own: PyTree, messages: PyTree, weights: Array) -> PyTree:
    """Computes ``x + sum_k w_k (x_k - x)`` over the whole pytree."""
    return jax.tree.map(lambda x, m: x + weighted_sum(weights, m, x), own, messages)


def combine(own_weight: Any, own: PyTree, messages: PyTree, weights: Array) -> PyTree:
    """Computes ``a x + sum_k w_k x_k`` over the whole pytree."""

    def each(x: Array, messages: Array) -> Array:
        return jnp.asarray(own_weight, x.dtype) * x + weighted_sum(weights, messages)

    return jax.tree.map(each, own, messages)
