"""Reader of ``metrics.jsonl``, which returns curves of metrics over rounds, with bands over seeds.

A line contains tags, then ``round``, then metrics. In a training of R replicas, the tags ``seed``
and the settings are lists of R numbers, and a metric has shape ``[R]``, or ``[R][n]`` with a value
per client. A line with ``chosen`` contains the setting that tuning chose for the training with the
same tags.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95
FEWEST_SEEDS = 3  # for a confidence interval
NO_TAGS = ("round", "seed", "chosen", "scores")
Series = dict[int, Any]  # value by round


@dataclasses.dataclass
class Curve:
    """The logged values of one setting of one training.

    Attributes:
        tags: tags and setting, without the seed.
        chosen: False if tuning chose another setting.
        tuned: names of the tags that were tuned.
        replicas: for each seed, values by metric and round.
        latest: for each seed, the last round that was read.
    """

    tags: dict[str, Any]
    chosen: bool = True
    tuned: tuple[str, ...] = ()
    replicas: dict[Any, dict[str, Series]] = dataclasses.field(default_factory=dict)
    latest: dict[Any, float] = dataclasses.field(default_factory=dict)

    def metrics(self) -> list[str]:
        """Returns the names of the metrics that are numbers."""
        return self._names(list_valued=False)

    def client_metrics(self) -> list[str]:
        """Returns the names of the metrics that have one number per client."""
        return self._names(list_valued=True)

    def values(self, metric: str) -> tuple[list[int], np.ndarray]:
        """Returns rounds with a finite value, and values ``[S, T]`` or ``[S, T, n]``, NaN for none.

        Raises:
            ValueError: if the number of clients changes.
        """
        series = [replica[metric] for replica in self.replicas.values() if metric in replica]
        every = sorted({at for one in series for at in one})
        shapes = {np.shape(value) for one in series for value in one.values()}
        if len(shapes) != 1:
            raise ValueError(f"{metric} must have one shape in all rounds, got {sorted(shapes)}")
        empty = np.full(shapes.pop(), math.nan)
        table = np.array([[one.get(at, empty) for at in every] for one in series], float)
        table[~np.isfinite(table)] = math.nan
        kept = np.isfinite(table).any(axis=(0, *range(2, table.ndim)))
        return [at for at, keep in zip(every, kept, strict=True) if keep], table[:, kept]

    def _names(self, *, list_valued: bool) -> list[str]:
        names = {}
        for replica in self.replicas.values():
            for name, series in replica.items():
                if isinstance(next(iter(series.values())), list) == list_valued:
                    names[name] = True
        return list(names)


@dataclasses.dataclass(frozen=True)
class Band:
    """A mean and a band over seeds.

    Attributes:
        mean: ``[T]``.
        low: lower end of the band, ``[T]``.
        high: upper end of the band, ``[T]``.
        kind: ``"confidence"``, ``"range"`` for too few seeds, or ``"none"`` for one.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kind: str


def band(values: np.ndarray) -> Band:
    """Computes the mean over seeds and a confidence interval; below 3 seeds, minimum and maximum.

    Args:
        values: ``[S, T]``; NaN for a missing value, with at least one value in each round.
    """
    count = np.isfinite(values).sum(0)
    mean = np.nanmean(values, 0)
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    enough = count >= FEWEST_SEEDS
    if enough.any():
        n = count[enough]
        deviation = np.nanstd(values[:, enough], axis=0, ddof=1)
        half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * deviation / np.sqrt(n)
        low[enough], high[enough] = mean[enough] - half, mean[enough] + half
    most = count.max(initial=0)
    kind = "confidence" if most >= FEWEST_SEEDS else "range" if most > 1 else "none"
    return Band(mean, low, high, kind)


def read_log(path: pathlib.Path) -> list[Curve]:
    """Reads a log. Returns no curves for a missing file, and ignores lines without ``round``.

    If a training is logged again, for example with the setting that a search chose, the new values
    replace the old ones.

    Raises:
        ValueError: if a line is not a JSON object, or its lists have different lengths.
    """
    if not path.exists():
        return []
    curves: dict[str, Curve] = {}
    choices: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            line = _parse(text, f"{path}, line {number}")
            if isinstance(line.get("chosen"), dict):
                choices.append(line)
            elif _is_round(line.get("round")):
                _add(curves, line, f"{path}, line {number}")
    _choose(list(curves.values()), choices)
    return list(curves.values())


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{place} must be JSON, got {text[:60]!r}: {error}") from None
    if not isinstance(line, dict):
        raise ValueError(f"{place} must be a JSON object, got {text[:60]!r}")
    return line


def _is_round(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _add(curves: dict[str, Curve], line: dict[str, Any], place: str) -> None:
    """Adds the values of a line to the curves of its replicas."""
    names = list(line)
    before = names[: names.index("round")]
    listed = [name for name in before if isinstance(line[name], list)]
    lengths = {len(line[name]) for name in listed}
    if len(lengths) > 1:
        raise ValueError(
            f"{place}: tags that are lists must have one entry for each replica, got "
            f"{ {name: len(line[name]) for name in listed} }"
        )
    count = lengths.pop() if lengths else 1
    for replica in range(count):
        tags = {name: line[name][replica] if name in listed else line[name] for name in before}
        seed = json.dumps(tags.pop("seed", 0))
        curve = curves.setdefault(json.dumps(tags), Curve(tags))
        series = curve.replicas.setdefault(seed, {})
        if line["round"] < curve.latest.get(seed, -math.inf):
            series.clear()
        curve.latest[seed] = line["round"]
        for name in names[len(before) + 1 :]:
            value = line[name]
            if listed and isinstance(value, list) and len(value) == count:
                value = value[replica]
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if _is_metric(value):
                series.setdefault(name, {})[line["round"]] = _numbers(value)


def _is_metric(value: Any) -> bool:
    """Returns whether a value is a number, a list of numbers, or null (a number not finite)."""
    if isinstance(value, list):
        return bool(value) and all(not isinstance(v, list) and _is_metric(v) for v in value)
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    return math.nan if value is None else float(value)


def _choose(curves: list[Curve], choices: list[dict[str, Any]]) -> None:
    """Marks the curves with the setting that tuning chose; ignores a choice without a curve."""
    chosen: dict[int, bool] = {}
    for line in choices:
        about = [curve for curve in curves if _is_about(line, curve)]
        agrees = [_agrees(line["chosen"], curve.tags) for curve in about]
        if not any(agrees):
            continue
        for curve, agree in zip(about, agrees, strict=True):
            chosen[id(curve)] = chosen.get(id(curve), False) or agree
            curve.tuned = tuple(name for name in curve.tags if name in line["chosen"])
    for curve in curves:
        curve.chosen = chosen.get(id(curve), True)


def _is_about(line: dict[str, Any], curve: Curve) -> bool:
    """Returns whether a choice is for a curve: all tags agree except lists and chosen ones."""
    return all(
        name in line["chosen"] or isinstance(line.get(name), list) or line.get(name) == value
        for name, value in curve.tags.items()
        if name not in NO_TAGS
    )


def _agrees(chosen: dict[str, Any], tags: dict[str, Any]) -> bool:
    """Returns whether a curve has the chosen setting, up to rounding of computed values."""
    return all(_same(value, tags[name]) for name, value in chosen.items() if name in tags)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-5)
    return bool(a == b)
