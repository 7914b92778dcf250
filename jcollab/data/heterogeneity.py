"""How much the labels and sizes of clients differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jcollab import checks


def heterogeneity(parts: Sequence[Any], labels: np.ndarray) -> dict[str, float]:
    """Measures how much clients of a partition differ in labels and sizes.

    With the distribution ``p_i`` of the labels of client i, and p of all clients together:

    * ``label_entropy``: the mean over clients of ``-sum_c p_ic log p_ic``, in nats: 0 if every
      client has one class, at most ``log C``;
    * ``total_variation``: the mean over clients of ``sum_c |p_ic - p_c| / 2``, in 0..1: 0 if all
      clients have the labels of the whole;
    * ``size_variation``: the standard deviation of the sizes divided by their mean, 0 for equal
      sizes.

    Args:
        parts: one index array for each client, as from :func:`jcollab.data.dirichlet`.
        labels: int ``[N]``, at least 0.

    Raises:
        TypeError: if labels or indices are not integers.
        ValueError: if labels do not have shape ``[N]`` or are negative, there are no clients, a
            client has no examples, or an index is out of range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> jc.data.heterogeneity([[0, 1], [2, 3]], labels)
        {'label_entropy': 0.0, 'total_variation': 0.5, 'size_variation': 0.0}

    See Also:
        :func:`jcollab.plots.partition` draws the same counts.
    """
    from scipy.special import entr

    counts = checks.class_counts(parts, labels)
    sizes = counts.sum(1)
    own, whole = counts / sizes[:, None], counts.sum(0) / sizes.sum()
    return {
        "label_entropy": float(entr(own).sum(1).mean()),
        "total_variation": float(np.abs(own - whole).sum(1).mean() / 2),
        "size_variation": float(sizes.std() / sizes.mean()),
    }
