"""ByzFL with PyTorch, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.peers._byzfl_rules import RULES

VERSIONS = ("byzfl", "torch")
torch.set_num_threads(os.cpu_count() or 1)


def rule(rule: str, models: int, size: int, **options: Any) -> Callable[[], Any]:
    """Builds the aggregation of the models of all clients."""
    x, aggregate = torch.randn(models, size), RULES[rule](**options)
    return lambda: aggregate(x)
