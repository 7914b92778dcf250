"""Aggregation rules for ONE receiver: what a client makes of the messages of its neighbours.

A rule is a function ``rule(own, received, weights) -> new`` of pytrees with leaves ``[...]`` and
``[K, ...]``; ``weights`` is ``[K]``, 0 where a slot is empty or its message was lost, and the
client's own weight is ``1 - sum(weights)``.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jcollab.core import Array, PyTree

Rule = Callable[[PyTree, PyTree, Array], PyTree]


def weighted() -> Rule:
    """The weighted mean: ``(1 - sum_k w_k) x + sum_k w_k x_k``."""

    def rule(own: PyTree, received: PyTree, weights: Array) -> PyTree:
        def mean(x: Array, messages: Array) -> Array:
            w = weights.reshape(-1, *(1,) * x.ndim).astype(messages.dtype)
            # an empty slot may hold anything, also NaN, and must not count
            kept = jnp.where(w != 0, messages, 0)
            return (1 - w.sum(0)) * x + (w * kept).sum(0)

        return jax.tree.map(mean, own, received)

    return rule
