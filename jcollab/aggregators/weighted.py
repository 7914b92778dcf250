"""The weighted mean, which is plain gossip."""

from __future__ import annotations

from jcollab.aggregators.common import combine, rule
from jcollab.core import Array, PyTree, Receiver, Rule


def weighted() -> Rule:
    """The weighted mean: ``(1 - sum_k w_k) x + sum_k w_k x_k``. Not robust."""

    def mean(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        return combine(1 - weights.sum(), own, messages, weights)

    return rule(mean, name="weighted")
