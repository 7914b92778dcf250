"""Any rule, applied to the prototypes of every class by itself."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab.aggregators.common import Rule
from jcollab.core import Array, offer
from jcollab.objectives.prototypes import Prototypes


def per_class(rule: Rule) -> Rule:
    """Aggregates prototypes class by class, over those that have the class.

        m_c = rule(m_c^own, {m_c^k : w_c^k > 0})

    A message without the class has weight 0 in it, so that a rule that is not linear never takes
    an absent prototype for a zero. Rules that measure distances see one class at a time.

    Args:
        rule: a rule without a memory for arrays ``[d]``.

    Raises:
        TypeError: if it is no function, or when it is used, if messages are not Prototypes.
    """
    if not callable(rule):
        raise TypeError(f"rule must be a function, got {type(rule).__name__}")

    def apply(
        own: Prototypes,
        received: Prototypes,
        weights: Array,
        *,
        own_counts: bool = True,
        **context: Any,
    ) -> Prototypes:
        if not isinstance(received, Prototypes):
            raise TypeError(f"messages must be Prototypes, got {type(received).__name__}")
        mine, theirs = _means(own), _means(received)

        def one(x: Array, has: Array, messages: Array, have: Array) -> tuple[Array, Array]:
            share = jnp.where(have, weights, 0)
            own_share = jnp.where(has, 1 - weights.sum(), 0) if own_counts else jnp.zeros(())
            total = share.sum() + own_share
            there = total > 0
            # a client without the class starts from the mean of what it hears
            center = jnp.sum(jnp.where(have[:, None], share[:, None] * messages, 0), axis=0)
            total_share = share.sum()
            x = jnp.where(has, x, center / jnp.where(total_share > 0, total_share, 1))
            scaled = share / jnp.where(there, total, 1)
            new = offer(rule, x, messages, scaled, own_counts=own_counts, **context)
            return jnp.where(there, new, 0), there.astype(x.dtype)

        values, there = jax.vmap(one, (0, 0, 1, 1))(
            mine, own.weights > 0, theirs, received.weights > 0
        )
        return Prototypes(values, there)

    apply.least_inputs = getattr(rule, "least_inputs", (1, ""))  # type: ignore[attr-defined]
    return apply


def _means(p: Prototypes) -> Array:
    return p.values / jnp.where(p.weights > 0, p.weights, 1)[..., None]
