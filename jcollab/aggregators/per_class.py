"""Any rule, applied to the prototypes of each class separately."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcollab.aggregators.common import check_rule
from jcollab.core import Array, PyTree, Receiver, Rule
from jcollab.objectives.prototypes import Prototypes


def per_class(rule: Rule) -> Rule:
    """Aggregates prototypes class by class, over the clients that have the class.

        m_c = rule(m_c^own, {m_c^k : w_c^k > 0})

    A message without the class has weight 0 in it, so a rule that is not linear does not take a
    missing prototype for a zero. Rules that measure distances get one class at a time.

    Args:
        rule: for arrays ``[d]``; it has one state for each class.

    Raises:
        TypeError: if ``rule`` is no rule; when it is used, if messages are not Prototypes.
    """
    check_rule(rule)

    def init(own: Prototypes) -> PyTree:
        return jax.vmap(rule.init)(_means(own))

    def update(
        own: Prototypes, messages: Prototypes, weights: Array, s: PyTree, context: Receiver
    ) -> tuple[Prototypes, PyTree]:
        own_counts = context.own_counts
        mine, theirs = _means(own), _means(messages)

        def one(x: Array, has: Array, sent: Array, have: Array, s: PyTree) -> tuple:
            share = jnp.where(have, weights, 0)
            own_share = jnp.where(has, 1 - weights.sum(), 0) if own_counts else jnp.zeros(())
            total = share.sum() + own_share
            present = total > 0
            # a client without the class starts from the mean of the messages
            center = jnp.sum(jnp.where(have[:, None], share[:, None] * sent, 0), axis=0)
            total_share = share.sum()
            x = jnp.where(has, x, center / jnp.where(total_share > 0, total_share, 1))
            scaled = share / jnp.where(present, total, 1)
            new, kept = rule.update(x, sent, scaled, s, context)
            return jnp.where(present, new, 0), present.astype(x.dtype), kept

        values, present, kept = jax.vmap(one, (0, 0, 1, 1, 0))(
            mine, own.weights > 0, theirs, messages.weights > 0, s
        )
        return Prototypes(values, present), kept

    return Rule(init, update, rule.min_inputs, f"per_class({rule.name})")


def _means(p: Prototypes) -> Array:
    if not isinstance(p, Prototypes):
        raise TypeError(f"messages must be Prototypes, got {type(p).__name__}")
    return p.values / jnp.where(p.weights > 0, p.weights, 1)[..., None]
