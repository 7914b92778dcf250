"""Methods, checks of fields and means over seeds that several experiments share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Row, below, check

MEANS = ("test_accuracy", "test_loss", "train_loss", "gradient_variance")


def local_method(
    method: str, loss: Any, value: Any, steps: int, *parts: Any, **options: Any
) -> jc.Algorithm:
    """Local steps on all data of a client.

    Args:
        method: "FedGA" with displacement ``value``, "FedProx" with strength ``value``,
            "SCAFFOLD", or any other name for plain steps.
        loss: of one client.
        value: what the method is about.
        steps: K.
        *parts: of the local optimizer.
        **options: of :func:`jcollab.federated`.
    """
    drift = None
    if method == "FedGA":
        drift = jc.local.gradient_alignment(value)
    elif method == "FedProx":
        parts = (jc.local.proximal(value), *parts)
    elif method == "SCAFFOLD":
        parts, drift = (jc.local.control_variate(), *parts), jc.local.scaffold(recomputed=True)
    return jc.federated(
        loss,
        optax.chain(*parts),
        local_steps=steps,
        source=jc.sources.repeated(),
        drift=drift,
        **options,
    )


def check_halves(config: Any, name: str) -> None:
    """Refuses positive numbers unless each is half of the one before."""
    values = getattr(config, name)
    halves = all(a > 0 and abs(b / a - 0.5) < 1e-6 for a, b in itertools.pairwise(values))
    if not values or values[0] <= 0 or not halves:
        raise ValueError(f"{name} must be positive, each half of the one before, got {values}")


def check_displacements(config: Any, *names: str) -> None:
    """Refuses negative displacements, and a list without 0, what the others are compared with."""
    for name in names:
        check(config, name, at_least=0)
        if 0 not in getattr(config, name):
            raise ValueError(
                f"{name} must be at least 0, and 0 among them, got {getattr(config, name)}"
            )


def is_broken(train_loss: float, classes: int) -> bool:
    """Whether a run has failed: its last loss is not finite, or above half of what guessing has."""
    return not train_loss < np.log(classes) / 2


def by_case(rows: Iterable[Row], *fields: str) -> dict[tuple, list[Row]]:
    """The rows of every combination of fields, in order."""
    cases: dict[tuple, list[Row]] = {}
    for row in rows:
        cases.setdefault(tuple(row[name] for name in fields), []).append(row)
    return cases


def means(rows: list[Row], names: tuple[str, ...] = MEANS) -> Row:
    """Means over rows (None where one is not finite), and how many of them are broken."""
    found: Row = {}
    for name in names:
        values = [row[name] for row in rows]  # what is not finite is written as null
        found[name] = None if None in values else float(np.mean(values))
    return found | {"broken": sum(row["broken"] for row in rows)}


class Difference(NamedTuple):
    """The mean over seeds of a difference, and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} (standard error {self.error:.4f})"


def gain(left: list[Row], right: list[Row]) -> Difference:
    """How much more accurate one method is than another, seed by seed."""
    pairs = zip(left, right, strict=True)
    difference = np.array([a["test_accuracy"] - b["test_accuracy"] for a, b in pairs])
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
    return Difference(float(difference.mean()), float(error))


def more_accurate(name: str, own: list[Row], other: str, rows: list[Row]) -> Claim:
    """The claim that one method is more accurate than another."""
    found = gain(own, rows)
    claim = f"{name} is more accurate than {other} (paired)"
    return Claim(claim, "> 0", str(found), found.mean > 0)


def falling_variance(line: Iterable[list[Row]]) -> list[Claim]:
    """The claim that the variance falls along the cases; none for a single case that trains."""
    trained = [case for case in map(means, line) if not case["broken"]]
    variances = [case["gradient_variance"] for case in trained]
    if len(variances) < 2:
        return []
    ratio = max(b / a for a, b in itertools.pairwise(variances))
    claim = "the variance of gradients falls with beta, where training succeeds (largest ratio)"
    return [below(claim, ratio, 1)]
