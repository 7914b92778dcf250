"""UBAR (MOZI), which selects neighbors by distance, then by the loss of their models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks, layout
from jcollab.aggregators.common import combine, rule, squared_distances
from jcollab.core import Array, PyTree, Receiver, Rule


def ubar(
    score: Callable[[PyTree, PyTree, Array], Array],
    ratio: float,
    *,
    own_weight: float = 0.5,
    learning_rate: Any = 0.0,
) -> Rule:
    """Builds the UBAR rule: the mean of close neighbors whose models have no larger loss.

        N_s = the floor(rho m) nearest of the m neighbors
        N_r = { k in N_s : score(x_k) <= score(x) }, or the nearest neighbor if that is empty
        x' = a x + (1 - a) mean_{k in N_r} x_k - lr grad score(x)

    Args:
        score: ``score(params, batch, key) -> loss``, evaluated on the receiver's batch of the
            round.
        ratio: rho in (0, 1].
        own_weight: a in [0, 1].
        learning_rate: lr of the gradient step in the rule; 0 if the algorithm takes the steps. The
            published update is ``decentralized(..., overlap=True)`` with 0 here.

    Raises:
        TypeError: if ``score`` is not callable.
        ValueError: if a number is out of range; when used, if the round has no batch.

    Example:
        >>> rule = jc.aggregators.ubar(lambda x, batch, key: jnp.sum((x - batch) ** 2), ratio=1.0)
        >>> context = jc.core.Receiver(batch=jnp.array([1.0]))
        >>> sent = jnp.array([[2.0], [100.0]])  # losses 1 and 9801; the own loss is 1
        >>> aggregate = jax.jit(lambda x: jc.aggregators.apply(rule, x, sent, context=context))
        >>> aggregate(jnp.zeros(1)).tolist()
        [1.0]

    Source: Guo et al. 2020, arXiv 2008.00742.
    """
    checks.functions(score=score)
    checks.number("ratio", ratio, above=0, at_most=1)
    checks.number("own_weight", own_weight, at_least=0, at_most=1)
    checks.number("learning_rate", learning_rate, at_least=0)
    descends = checks.traced(learning_rate) or learning_rate != 0

    def select(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        batch, key = context.batch, context.key
        if batch is None:
            raise ValueError("batch must be the receiver's, on which ubar scores models, got None")
        present = weights > 0
        distances = jnp.where(present, squared_distances(own, messages), jnp.inf)
        order = jnp.argsort(distances)
        rank = jnp.zeros(len(order), int).at[order].set(jnp.arange(len(order)))
        # The margin keeps the floor of products such as 0.3 * 10, which are slightly less than 3 in
        # floating point.
        many = (ratio * present.sum().astype(float) + 1e-4).astype(int)
        near = present & (rank < many)
        # The receiver's key scores all models with the same randomness, or losses were not
        # comparable.
        losses = layout.vectorized(lambda params: score(params, batch, key))(messages)
        if descends:
            loss, grads = jax.value_and_grad(score)(own, batch, key)
        else:
            loss = score(own, batch, key)
        kept = near & (losses <= loss)
        kept = jnp.where(kept.any(), kept, present & (rank == 0))
        kept = kept.astype(float)
        share = (1 - own_weight) * kept / jnp.maximum(kept.sum(), 1)

        mixed = combine(1 - share.sum(), own, messages, share)
        if not descends:
            return mixed
        return jax.tree.map(lambda x, g: x - learning_rate * g.astype(x.dtype), mixed, grads)

    return rule(select, name="ubar")
