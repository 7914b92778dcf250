"""Bucketing, which applies a rule to means of random groups of inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import check_rule, column
from jcollab.core import Array, PyTree, Receiver, Rule


def bucketing(size: int, rule: Rule) -> Rule:
    """Builds a rule that combines means of s inputs, which differ less than the inputs.

    Each of the m inputs (the own value and the messages) is repeated s times. The copies are
    shuffled and split into m buckets of size s, and the rule combines the means of the buckets. The
    first bucket replaces the own value, so a self-centered rule loses its center.

    Args:
        size: s >= 1, number of inputs in a bucket; 1 only shuffles.
        rule: any rule.

    Raises:
        TypeError: if ``rule`` is not a Rule.
        ValueError: if size < 1.

    Example:
        >>> rule = jc.aggregators.bucketing(2, jc.aggregators.weighted())
        >>> sent, context = jnp.array([[3.0], [6.0]]), jc.core.Receiver(key=jax.random.key(0))
        >>> aggregate = jax.jit(lambda x: jc.aggregators.apply(rule, x, sent, context=context))
        >>> round(float(aggregate(jnp.zeros(1))[0]), 3)  # each input counts twice: the mean remains
        3.0

    Source: Karimireddy, He and Jaggi 2020, arXiv 2006.09365, in the form of resampling.
    """
    checks.count("size", size)
    check_rule(rule)

    def update(
        own: PyTree, messages: PyTree, weights: Array, s: PyTree, context: Receiver
    ) -> tuple[PyTree, PyTree]:
        shuffle_key, rule_key = jax.random.split(context.key)
        present = jnp.concatenate([jnp.array([context.own_counts]), weights > 0])
        slots = len(present)
        copies = jnp.tile(jnp.arange(slots), size)
        draws = jax.random.uniform(shuffle_key, copies.shape, jnp.float32)
        # Copies of absent inputs are sorted behind all others, so buckets of present inputs come
        # first.
        order = copies[jnp.argsort(jnp.where(present[copies], draws, jnp.inf))]
        # Bucket r replaces the r-th input that is present: means stay in slots with a positive
        # weight.
        place = jnp.cumsum(present) - 1
        chosen = order.reshape(slots, size)[place]
        share = jnp.zeros((slots, slots)).at[jnp.arange(slots)[:, None], chosen].add(1 / size)

        def mean(x: Array, messages: Array) -> Array:
            rows = jnp.concatenate([x[None].astype(messages.dtype), messages])
            rows = jnp.where(column(present, rows) != 0, rows, 0)  # 0 * NaN would be NaN
            return jnp.tensordot(share.astype(rows.dtype), rows, 1, precision="highest")

        means = jax.tree.map(mean, own, messages)
        first = jax.tree.map(lambda leaf: leaf[0], means)
        rest = jax.tree.map(lambda leaf: leaf[1:], means)
        return rule.update(first, rest, weights, s, context._replace(key=rule_key))

    return Rule(rule.init, update, rule.min_inputs, f"bucketing({size}, {rule.name})")
