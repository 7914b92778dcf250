"""Bucketing: rules that see means of random groups in place of single inputs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab.aggregators.common import Rule, StatefulRule, as_stateful, column
from jcollab.core import Array, PyTree, offer


def bucketing(size: int, rule: Rule | StatefulRule) -> Rule | StatefulRule:
    """Hands means of s inputs to a rule, which makes heterogeneous inputs more alike.

    Each of the m inputs (the own value and the messages) is repeated s times; the copies are
    shuffled and cut into m buckets of s, whose means the rule gets in place of the inputs. The
    first bucket takes the place of the own value, so that a self-centred rule loses its centre.

    Args:
        size: s >= 1; 1 only shuffles.
        rule: any rule.

    Raises:
        ValueError: if size < 1.

    Source: Karimireddy, He and Jaggi 2020, arXiv 2006.09365, in the form of resampling.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    inner = as_stateful(rule)

    def update(
        own: PyTree, received: PyTree, weights: Array, s: PyTree, *, key: Array, **context: Any
    ) -> tuple[PyTree, PyTree]:
        shuffle_key, rule_key = jax.random.split(key)
        present = jnp.concatenate([jnp.array([context.get("own_counts", True)]), weights > 0])
        slots = len(present)
        copies = jnp.tile(jnp.arange(slots), size)
        draws = jax.random.uniform(shuffle_key, copies.shape)
        order = copies[jnp.argsort(jnp.where(present[copies], draws, jnp.inf))]
        # bucket r goes to the r-th input that is there
        place = jnp.cumsum(present) - 1
        chosen = order.reshape(slots, size)[place]
        share = jnp.zeros((slots, slots)).at[jnp.arange(slots)[:, None], chosen].add(1 / size)

        def mean(x: Array, messages: Array) -> Array:
            rows = jnp.concatenate([x[None].astype(messages.dtype), messages])
            rows = jnp.where(column(present, rows) != 0, rows, 0)
            return jnp.tensordot(share.astype(rows.dtype), rows, 1, precision="highest")

        means = jax.tree.map(mean, own, received)
        first = jax.tree.map(lambda leaf: leaf[0], means)
        rest = jax.tree.map(lambda leaf: leaf[1:], means)
        return offer(inner.update, first, rest, weights, s, key=rule_key, **context)

    if isinstance(rule, StatefulRule):
        return StatefulRule(inner.init, update)

    def stateless(own: PyTree, received: PyTree, weights: Array, **context: Any) -> PyTree:
        return update(own, received, weights, (), **context)[0]

    stateless.least_inputs = getattr(rule, "least_inputs", (1, ""))  # type: ignore[attr-defined]
    return stateless
