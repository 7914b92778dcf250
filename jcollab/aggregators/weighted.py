"""The weighted mean, as in plain gossip."""

from __future__ import annotations

from jcollab.aggregators.common import combine, rule
from jcollab.core import Array, PyTree, Receiver, Rule


def weighted() -> Rule:
    """Builds the weighted mean, ``(1 - sum_k w_k) x + sum_k w_k x_k``, which is not robust.

    Example:
        >>> sent = jnp.array([[3.0], [6.0]])
        >>> new = jc.aggregators.apply(jc.aggregators.weighted(), jnp.zeros(1), sent)
        >>> round(float(new[0]), 3)
        3.0
    """

    def mean(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        return combine(1 - weights.sum(), own, messages, weights)

    return rule(mean, name="weighted")
