"""Any rule, applied to the prototypes of every class by itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcollab.aggregators.common import check_rule
from jcollab.core import Array, PyTree, Receiver, Rule
from jcollab.objectives.prototypes import Prototypes


def per_class(rule: Rule) -> Rule:
    """Aggregates prototypes class by class, over those that have the class.

        m_c = rule(m_c^own, {m_c^k : w_c^k > 0})

    A message without the class has weight 0 in it, so that a rule that is not linear never takes
    an absent prototype for a zero. Rules that measure distances see one class at a time.

    Args:
        rule: for arrays ``[d]``; its state, if it has one, is kept for each class.

    Raises:
        TypeError: if it is no rule, or when it is used, if messages are not Prototypes.
    """
    check_rule(rule)

    def init(own: Prototypes) -> PyTree:
        return jax.vmap(rule.init)(_means(own))

    def update(
        own: Prototypes, messages: Prototypes, weights: Array, s: PyTree, context: Receiver
    ) -> tuple[Prototypes, PyTree]:
        own_counts = context.own_counts
        if not isinstance(messages, Prototypes):
            raise TypeError(f"messages must be Prototypes, got {type(messages).__name__}")
        mine, theirs = _means(own), _means(messages)

        def one(x: Array, has: Array, sent: Array, have: Array, s: PyTree) -> tuple:
            share = jnp.where(have, weights, 0)
            own_share = jnp.where(has, 1 - weights.sum(), 0) if own_counts else jnp.zeros(())
            total = share.sum() + own_share
            there = total > 0
            # a client without the class starts from the mean of the messages
            center = jnp.sum(jnp.where(have[:, None], share[:, None] * sent, 0), axis=0)
            total_share = share.sum()
            x = jnp.where(has, x, center / jnp.where(total_share > 0, total_share, 1))
            scaled = share / jnp.where(there, total, 1)
            new, kept = rule.update(x, sent, scaled, s, context)
            return jnp.where(there, new, 0), there.astype(x.dtype), kept

        values, there, kept = jax.vmap(one, (0, 0, 1, 1, 0))(
            mine, own.weights > 0, theirs, messages.weights > 0, s
        )
        return Prototypes(values, there), kept

    return Rule(init, update, rule.min_inputs, f"per_class({rule.name})")


def _means(p: Prototypes) -> Array:
    return p.values / jnp.where(p.weights > 0, p.weights, 1)[..., None]
