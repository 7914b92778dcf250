"""Figure of the clusters: variance over rounds, and accuracy and variance against c."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

from experiments.contract import Row
from jcollab import plots

FAMILIES = (
    ("GD / GradAlign, K = 1", ("GD", "GradAlign"), plots.COLORS[0], "o-"),
    ("FedAvg / FedGA", ("FedAvg", "FedGA"), plots.COLORS[1], "o-"),
    ("SCAFFOLD", ("SCAFFOLD",), plots.COLORS[2], "D"),
)


@plots.style()
def figure(rows: list[Row], curves: dict[tuple[str, float], np.ndarray]) -> Any:
    """Three panels.

    Args:
        rows: one for each method, displacement and seed.
        curves: variance of gradients at the server's model, ``[seeds, T]``, by method and beta.
    """
    fig = plots.figure(figsize=(14.5, 4.6))
    first, second, third = fig.subplots(1, 3)
    _over_rounds(first, curves)
    _against_c(second, rows, "final_variance", "variance of gradients at the end", 1.0)
    second.set(yscale="log")
    # all data sets differ, so only differences to a method on the same one mean something
    _against_c(third, rows, "test_accuracy", "test accuracy, minus gradient descent's", 100.0)
    third.axhline(0, color="gray", lw=1)
    third.set_ylabel("points")
    if second.has_data():  # nothing is drawn where all training failed
        second.legend(fontsize=9)
    return fig


def _over_rounds(ax: Any, curves: dict[tuple[str, float], np.ndarray]) -> None:
    local = {key: v for key, v in curves.items() if key[0] in ("FedAvg", "FedGA")}
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(local)))
    for shade, ((name, beta), values) in zip(shades, local.items(), strict=True):
        label = f"{name}, $\\beta$ = {beta:g}" if beta else name
        rounds = 1 + np.arange(values.shape[1])
        ax.plot(rounds, values.mean(0), color=shade, label=label, lw=1.8)
    for (name, _), values in curves.items():
        if name == "SCAFFOLD":
            rounds = 1 + np.arange(values.shape[1])
            style = {"color": plots.COLORS[1], "ls": (0, (4, 2)), "lw": 1.8}
            ax.plot(rounds, values.mean(0), label=name, **style)
    ax.set(yscale="log", xlabel="communication rounds")
    ax.set_title("variance of gradients at the server's model")
    ax.legend(fontsize=9)


def _against_c(ax: Any, rows: list[Row], name: str, title: str, scale: float) -> None:
    relative = name == "test_accuracy"
    base = {row["seed"]: row[name] for row in rows if row["method"] == "GD"}
    for label, methods, color, form in FAMILIES:
        points: dict[float, list[float]] = {}
        for row in rows:
            if row["method"] in methods and not row["broken"]:
                value = row[name] - base[row["seed"]] if relative else row[name]
                points.setdefault(row["c"], []).append(scale * value)
        if not points:
            continue
        cs = sorted(points)
        values = [np.array(points[c]) for c in cs]
        errors = [v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in values]
        means = [v.mean() for v in values]
        ax.errorbar(
            cs, means, errors if relative else None, fmt=form, color=color, label=label, capsize=3
        )
    ax.set_xlabel("coefficient c of the variance")
    ax.set_title(title)
