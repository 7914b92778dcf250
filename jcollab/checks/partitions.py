"""Checks of partitions of labeled examples over clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jcollab.checks.arrays import integers, labels


def class_counts(parts: Sequence[Any], of: Any) -> np.ndarray:
    """Returns the number of examples of each client and class, int ``[n, C]``, of valid parts.

    Args:
        parts: the argument ``parts``, one index array for each client.
        of: the argument ``labels``, int ``[N]``.

    Raises:
        TypeError: if labels or indices are not integers.
        ValueError: if a label or an index is out of range, there are no clients, or a client has
            no examples.

    Example:
        >>> class_counts([[0, 1], [2, 3]], np.array([0, 0, 1, 0])).tolist()
        [[2, 0], [1, 1]]
    """
    labels("labels", of, ("N",))
    classes = np.asarray(of)
    if not len(parts):
        raise ValueError("parts must have at least one client, got none")
    for i, part in enumerate(parts):
        if not np.size(part):
            raise ValueError(f"parts[{i}] must have at least one example, got none")
        integers(f"parts[{i}]", part, ("m",), at_least=0, at_most=len(classes) - 1)
    count = int(classes.max()) + 1
    return np.stack([np.bincount(classes[np.asarray(part)], minlength=count) for part in parts])
