"""Interleaved timing: competitors take turns, so that a busy machine slows all of them.

Before each turn there is a pause: the threads of PyTorch's pool spin for a while after their work,
and would take the processor from whoever comes next.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

PAUSE = 0.3  # seconds


def interleaved(programs: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each program; the first call of each (compilation) is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        jax.block_until_ready(program())
    for _ in range(repeats):
        for name, program in programs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            jax.block_until_ready(program())
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
