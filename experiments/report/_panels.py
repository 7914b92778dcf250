"""Data for the scripts of the page: the curves of each preset, and clients on their graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.report._logs import Curve, band
from experiments.report._runs import Graph, Run
from experiments.report._tables import cell

MOST_POINTS = 500  # per curve
MOST_FRAMES = 100  # per animation
DIGITS = 5
FIRST = ("test_mean_accuracy", "mean_accuracy", "test_accuracy", "accuracy", "loss")
CLIENTS = "client_accuracy"


def panels(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns a panel for each preset with logged curves. Runs of one preset share a panel.

    A panel has ``name``, ``metrics``, ``tags`` (the values of each tag that varies), ``curves``,
    ``graphs`` and ``client_metrics``.
    """
    names = dict.fromkeys(run.group for run in runs)
    groups = {name: [run for run in runs if run.group == name and run.curves] for name in names}
    return [_panel(name, group) for name, group in groups.items() if group]


def _panel(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    distinctive = _distinctive_tags([curve for run in runs for curve in run.curves])
    styles: dict[tuple[tuple[str, str], ...], int] = {}
    curves: list[dict[str, Any]] = []
    graphs: dict[str, dict[str, Any]] = {}
    for number, run in enumerate(runs):
        for curve in run.curves:
            tags = {tag: _text(curve.tags[tag]) for tag in distinctive if tag in curve.tags}
            style = styles.setdefault(tuple(tags.items()), len(styles))
            label = ", ".join(_label(tag, curve.tags[tag]) for tag in tags)
            if len(runs) > 1:
                tags = {"run": run.short, **tags}
                label = f"{run.short}: {label}" if label else run.short
            data = {metric: _data(curve, metric) for metric in curve.metrics()}
            drawn: dict[str, Any] = {
                "label": label or name,
                "about": ", ".join(f"{_words(tag)}: {_text(v)}" for tag, v in curve.tags.items()),
                "setting": ", ".join(_label(tag, curve.tags[tag]) for tag in curve.tuned),
                "tags": tags,
                "chosen": curve.chosen,
                "color": style,
                "dash": number,
                "seeds": len(curve.replicas),
                "data": {metric: one for metric, one in data.items() if one["x"]},
                "clients": {},
            }
            graph = run.graphs.get(str(curve.tags.get("topology")))
            if graph is not None:
                key = f"{number} {curve.tags['topology']}"
                drawn["clients"] = _clients(curve, graph)
                drawn["graph"] = key
                graphs[key] = {"edges": graph.edges, "positions": graph.positions}
            curves.append(drawn)
    metrics = list(dict.fromkeys(metric for curve in curves for metric in curve["data"]))
    client_metrics = list(dict.fromkeys(name for curve in curves for name in curve["clients"]))
    return {
        "name": name,
        "metrics": sorted(metrics, key=lambda m: FIRST.index(m) if m in FIRST else len(FIRST)),
        "tags": {
            tag: list(dict.fromkeys(c["tags"][tag] for c in curves if tag in c["tags"]))
            for tag in dict.fromkeys(tag for curve in curves for tag in curve["tags"])
        },
        "curves": curves,
        "graphs": graphs if client_metrics else {},
        "client_metrics": client_metrics,
    }


def _distinctive_tags(curves: Sequence[Curve]) -> list[str]:
    """Returns few tags that distinguish all curves, without tuned tags; prefers the first tags."""
    tuned = {tag for curve in curves for tag in curve.tuned}
    tags = [tag for tag in dict.fromkeys(t for c in curves for t in c.tags) if tag not in tuned]

    def count(names: Sequence[str]) -> int:
        return len({tuple(_text(curve.tags.get(name)) for name in names) for curve in curves})

    every = count(tags)
    for tag in reversed(tags):
        others = [other for other in tags if other != tag]
        if count(others) == every:
            tags = others
    return tags


def _text(value: Any) -> str:
    return "none" if value is None else cell(value)


def _label(tag: str, value: Any) -> str:
    """Returns a label: a string without the name of its tag, another value with it."""
    return value if isinstance(value, str) else f"{_words(tag)} {_text(value)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _data(curve: Curve, metric: str) -> dict[str, Any]:
    """Returns the rounds, mean and band of a metric."""
    rounds, values = curve.values(metric)
    kept = _spread(len(rounds), MOST_POINTS)
    interval = band(values[:, kept])
    data = {
        "x": [rounds[i] for i in kept],
        "mean": _short(interval.mean),
        "kind": interval.kind,
        "thinned": len(kept) < len(rounds),
    }
    if interval.kind != "none":
        data |= {"low": _short(interval.low), "high": _short(interval.high)}
    return data


def _clients(curve: Curve, graph: Graph) -> dict[str, Any]:
    """Returns for each per-client metric the rounds and the means over seeds, ``[T][n]``."""
    clients = {}
    for metric in curve.client_metrics():
        if not metric.endswith(CLIENTS):
            continue
        rounds, values = curve.values(metric)
        if not rounds or values.shape[2] > len(graph.positions):
            continue  # not the clients of this graph
        kept = _spread(len(rounds), MOST_FRAMES)
        counts = np.isfinite(values).sum(0)[kept]
        means = np.nansum(values, 0)[kept] / np.where(counts, counts, np.nan)
        clients[metric] = {"x": [rounds[i] for i in kept], "values": [_short(row) for row in means]}
    return clients


def _spread(count: int, most: int) -> list[int]:
    """Returns at most ``most`` indices below ``count``, including the first and the last."""
    return np.unique(
        np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int)
    ).tolist()


def _short(values: np.ndarray) -> list[float | None]:
    """Returns rounded numbers, None for NaN."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]
