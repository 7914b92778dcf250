"""The weighted mean, which is plain gossip."""

from __future__ import annotations

from jcollab.aggregators.common import Rule, combine
from jcollab.core import Array, PyTree


def weighted() -> Rule:
    """The weighted mean: ``(1 - sum_k w_k) x + sum_k w_k x_k``. Not robust."""

    def rule(own: PyTree, received: PyTree, weights: Array) -> PyTree:
        return combine(1 - weights.sum(), own, received, weights)

    return rule
