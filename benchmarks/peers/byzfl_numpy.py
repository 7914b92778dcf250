"""ByzFL with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers._byzfl_rules import RULES

VERSIONS = ("byzfl", "numpy")


def rule(rule: str, models: int, size: int, **options: Any) -> Callable[[], Any]:
    """Builds the aggregation of the models of all clients."""
    x = np.random.default_rng(0).standard_normal((models, size), np.float32)
    aggregate = RULES[rule](**options)
    return lambda: aggregate(x)
