"""Figures of the experiment with models."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.contract import Row
from experiments.optimal_averaging.kinds import Models
from jcollab import plots

GROUPS = {"majority": plots.COLORS[0], "minority": plots.COLORS[1]}
SCATTERED = ("global", "plug-in", "oracle", "FedAvg + tuning")


@plots.style()
def levels_figure(config: Models, rows: list[Row]) -> Any:
    """Accuracy of both groups against the weight of the others, a panel for each task."""
    count = len(config.shifted)
    fig = plots.figure(figsize=(1.5 + 3.9 * count, 4.2))
    panels = fig.subplots(1, count, sharey=True, squeeze=False)[0]
    for ax, shifted in zip(panels, config.shifted, strict=True):
        levels = [row for row in rows if (row["shifted"], row["kind"]) == (shifted, "level")]
        methods = {
            row["method"]: row
            for row in rows
            if (row["shifted"], row["kind"]) == (shifted, "method")
        }
        weights = [row["weight"] for row in levels]
        for part, color in GROUPS.items():
            ax.plot(weights, [row[part] for row in levels], color=color, label=part)
            for method, marker, size in (("plug-in", "o", 9), ("oracle", "*", 14)):
                row = methods[method]
                ax.plot(
                    row[f"{part}_weight"], row[part], marker, ms=size, color=color, mec="white",
                    label=f"{part}, {method}", zorder=3,
                )  # fmt: skip
        ax.set(
            title=f"{shifted} of 10 labels differ",
            xlabel="weight of the others $a$, same for all",
            xlim=(-0.02, 1.02),
        )
    panels[0].set_ylabel("mean test accuracy")
    panels[0].legend(fontsize=9)
    return fig


@plots.style()
def scatter_figure(config: Models, rows: list[Row], shifted: int) -> Any:
    """Accuracy of every client alone and after averaging."""
    clients = [row for row in rows if (row["shifted"], row["kind"]) == (shifted, "client")]
    names = [name for name in SCATTERED if name in clients[0]]
    fig = plots.figure(figsize=(1 + 3.2 * len(names), 3.9))
    panels = fig.subplots(1, len(names), sharex=True, sharey=True)
    values = np.array([[row["local"], *(row[name] for name in names)] for row in clients])
    low, high = values.min() - 0.02, min(1.0, values.max() + 0.02)
    for ax, name in zip(panels, names, strict=True):
        ax.plot([low, high], [low, high], color="black", lw=1, ls=":")
        for part, color in GROUPS.items():
            own = [row for row in clients if row["minority"] == (part == "minority")]
            ax.scatter(
                [row["local"] for row in own],
                [row[name] for row in own],
                s=[8 + 0.5 * row["examples"] for row in own],
                color=color, alpha=0.7, lw=0, label=part,
            )  # fmt: skip
        better = np.mean([row[name] > row["local"] for row in clients])
        title = {"global": "common mean"}.get(name, name)
        ax.set(title=title, xlabel="accuracy alone", xlim=(low, high), ylim=(low, high))
        ax.text(
            0.97, 0.03, f"{better:.0%} of clients gain",
            transform=ax.transAxes, ha="right", fontsize=9,
        )  # fmt: skip
    panels[0].set_ylabel("accuracy after")
    panels[names.index("oracle")].legend(
        fontsize=9, title="size: examples", title_fontsize=8, loc=(0.5, 0.13)
    )
    return fig
