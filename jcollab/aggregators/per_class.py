"""A rule that is applied to the prototypes of each class separately."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcollab.aggregators.common import check_rule
from jcollab.core import Array, PyTree, Receiver, Rule
from jcollab.objectives.prototypes import Prototypes


def per_class(rule: Rule) -> Rule:
    """Builds a rule that aggregates prototypes class by class, over the clients with the class.

        m_c = rule(m_c^own, {m_c^k : w_c^k > 0})

    A message without class c has weight 0 in class c, so a nonlinear rule does not mistake a
    missing prototype for a zero. Rules that compute distances receive one class at a time.

    Args:
        rule: rule for arrays ``[d]``; it has one state for each class.

    Raises:
        TypeError: if ``rule`` is not a Rule; when used, if messages are not Prototypes.

    Example:
        >>> rule = jc.aggregators.per_class(jc.aggregators.weighted())
        >>> prototypes = jc.objectives.prototypes.Prototypes
        >>> own = prototypes(jnp.array([[1.0], [0.0]]), jnp.array([1.0, 0.0]))  # lacks class 1
        >>> sent = prototypes(jnp.array([[[3.0], [8.0]]]), jnp.ones((1, 2)))
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> aggregate(rule, own, sent).values.tolist()
        [[2.0], [8.0]]
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
            # Weights of the clients without the class go to those that have it, in proportion.
            share = jnp.where(have, weights, 0)
            own_share = jnp.where(has, 1 - weights.sum(), 0) if own_counts else jnp.zeros(())
            total = share.sum() + own_share
            present = total > 0
            # A client without the class has no own prototype. The mean of the messages replaces it,
            # as an input of weight 0 and as the center of rules that are centered at the own value.
            center = jnp.sum(jnp.where(have[:, None], share[:, None] * sent, 0), axis=0)
            total_share = share.sum()
            x = jnp.where(has, x, center / jnp.where(total_share > 0, total_share, 1))
            scaled = share / jnp.where(present, total, 1)
            new, kept = rule.update(x, sent, scaled, s, context)
            return jnp.where(present, new, 0), present.astype(x.dtype), kept

        # Classes are axis 0 of prototypes and states, and axis 1 of messages [K, C, d].
        values, present, kept = jax.vmap(one, (0, 0, 1, 1, 0))(
            mine, own.weights > 0, theirs, messages.weights > 0, s
        )
        return Prototypes(values, present), kept

    return Rule(init, update, rule.min_inputs, f"per_class({rule.name})")


def _means(p: Prototypes) -> Array:
    if not isinstance(p, Prototypes):
        raise TypeError(f"messages must be Prototypes, got {type(p).__name__}")
    return p.values / jnp.where(p.weights > 0, p.weights, 1)[..., None]
