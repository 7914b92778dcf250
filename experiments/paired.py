"""Differences between methods that are paired by seed, with intervals."""

from typing import Any

import numpy as np
import scipy.stats

from experiments.contract import Claim, Row, columns


def interval(values: Any) -> tuple[float, float, float]:
    """Computes a mean and its 95 % interval by Student's t, unbounded for one value."""
    values = np.asarray(values, float)
    mean, half = float(values.mean()), np.inf
    if len(values) > 1:
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return mean, float(mean - half), float(mean + half)


def gain(own: list[Row], other: list[Row], column: str) -> tuple[float, float, float]:
    """Computes the mean of ``own - other`` over seeds and its interval."""
    by_seed = [sorted(rows, key=lambda row: row["seed"]) for rows in (own, other)]
    return interval(np.subtract(*(columns(rows, column)[0] for rows in by_seed)))


def above_zero(claim: str, difference: tuple[float, float, float]) -> Claim:
    """Claims that the interval of a difference lies above 0."""
    return Claim(claim, "95 % interval above 0", spoken(difference), difference[1] > 0)


def spoken(difference: tuple[float, float, float]) -> str:
    """Returns ``+mean [low, high]``."""
    mean, low, high = difference
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
