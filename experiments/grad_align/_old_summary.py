"""Means over seeds, and differences seed by seed."""

from __future__ import annotations

import numpy as np

from experiments.contract import Row

MEANS = ("test_accuracy", "test_loss", "train_loss", "gradient_variance")


def is_broken(train_loss: float, classes: int) -> bool:
    """Whether a run has failed: its last loss is not finite, or above half of what guessing has."""
    return not train_loss < np.log(classes) / 2


def by_case(rows: list[Row], *fields: str) -> dict[tuple, list[Row]]:
    """The rows of every combination of fields, in order."""
    cases: dict[tuple, list[Row]] = {}
    for row in rows:
        cases.setdefault(tuple(row[name] for name in fields), []).append(row)
    return cases


def means(rows: list[Row], names: tuple[str, ...] = MEANS) -> Row:
    """Means over rows (None where one is not finite), and how many of them are broken."""
    said: Row = {}
    for name in names:
        values = [row[name] for row in rows]  # what is not finite is written as null
        said[name] = None if None in values else float(np.mean(values))
    return said | {"broken": sum(row["broken"] for row in rows)}


def paired(left: list[Row], right: list[Row], name: str) -> tuple[float, float]:
    """Mean over seeds of left - right, and its standard error."""
    difference = np.array([a[name] - b[name] for a, b in zip(left, right, strict=True)])
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
    return float(difference.mean()), float(error)
