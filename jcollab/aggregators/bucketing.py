"""Bucketing: rules of means of random groups instead of single inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import check_rule, column
from jcollab.core import Array, PyTree, Receiver, Rule


def bucketing(size: int, rule: Rule) -> Rule:
    """Applies a rule to means of s inputs, which are less heterogeneous than the inputs.

    Each of the m inputs (the own value and the messages) is repeated s times. The copies are
    shuffled and cut into m buckets of s, and the rule combines the means of the buckets. The first
    bucket replaces the own value, so a self-centered rule loses its center.

    Args:
        size: s >= 1, inputs in a bucket; 1 only shuffles.
        rule: any rule.

    Raises:
        TypeError: if ``rule`` is no rule.
        ValueError: if size < 1.

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
        order = copies[jnp.argsort(jnp.where(present[copies], draws, jnp.inf))]
        # bucket r replaces the r-th input that is present
        place = jnp.cumsum(present) - 1
        chosen = order.reshape(slots, size)[place]
        share = jnp.zeros((slots, slots)).at[jnp.arange(slots)[:, None], chosen].add(1 / size)

        def mean(x: Array, messages: Array) -> Array:
            rows = jnp.concatenate([x[None].astype(messages.dtype), messages])
            rows = jnp.where(column(present, rows) != 0, rows, 0)
            return jnp.tensordot(share.astype(rows.dtype), rows, 1, precision="highest")

        means = jax.tree.map(mean, own, messages)
        first = jax.tree.map(lambda leaf: leaf[0], means)
        rest = jax.tree.map(lambda leaf: leaf[1:], means)
        return rule.update(first, rest, weights, s, context._replace(key=rule_key))

    return Rule(rule.init, update, rule.min_inputs, f"bucketing({size}, {rule.name})")
