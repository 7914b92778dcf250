"""Interleaved timing: programs run alternately, so that a busy machine slows all of them.

A pause precedes each measurement, because PyTorch's threads spin for a while after their work and
would slow the next program.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

PAUSE = 0.3  # seconds


def interleaved(programs: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Measures the median seconds of each program, without its first call (compilation)."""
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
