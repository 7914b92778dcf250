"""Figures of the RelaySGD experiments."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

import jcollab as jc
from experiments.contract import Row
from experiments.relaysgd.kinds import Heterogeneity
from jcollab import plots

COLORS = {
    "all-reduce": plots.COLORS[2],
    "D-PSGD": plots.COLORS[1],
    "RelaySGD": plots.COLORS[0],
    "SGP": plots.COLORS[4],
    "D-PSGD + QGM": plots.COLORS[3],
    "D2": plots.COLORS[6],
    "gradient tracking": plots.COLORS[5],
}


@plots.style()
def heterogeneity_figure(
    config: Heterogeneity,
    topology: jc.topology.Topology,
    curves: dict[tuple[float, str], dict[str, np.ndarray]],
    counts: dict[float, np.ndarray],
) -> Any:
    """Accuracy against rounds for every alpha; below, the clients' labels along the topology."""
    fig = plots.figure(figsize=(5.2 * len(config.alphas), 7.4))
    grid = fig.add_gridspec(2, len(config.alphas), height_ratios=(3, 1.9))
    for column, alpha in enumerate(config.alphas):
        ax = fig.add_subplot(grid[0, column])
        for (at, name), curve in curves.items():
            if at != alpha:
                continue
            color = COLORS.get(name.split(",")[0], "gray")
            plots.band(ax, curve["round"], curve["test_worst_accuracy"].T, color=color, label=name)
            mean = curve["test_mean_accuracy"].mean(1)
            ax.plot(curve["round"], mean, color=color, lw=1.2, ls=(0, (4, 2)))
        ax.set(title=f"label split Dirichlet({alpha:g})", xlabel="communication rounds")
        ax.set(ylim=(0, 1.02), xlim=(0, config.rounds))
        if column == 0:
            ax.set_ylabel("test accuracy")
            ax.legend(loc="lower right", title="worst client (mean: dashed)")
    _labels_along(fig.add_subplot(grid[1, :]), topology, counts[min(counts)], min(counts))
    return fig


@plots.style()
def worst_client_figure(config: Heterogeneity, rows: list[Row]) -> Any:
    """Worst-client accuracy of every method against alpha, one panel per momentum."""
    fig = plots.figure(figsize=(5.2 * len(config.momenta), 4.6))
    panels = fig.subplots(1, len(config.momenta), sharey=True, squeeze=False)[0]
    for ax, momentum in zip(panels, config.momenta, strict=True):
        lines: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            if row["momentum"] == momentum:
                lines.setdefault((row["algorithm"], row["topology"]), []).append(row)
        for (name, topology), line in lines.items():
            ax.errorbar(
                [row["alpha"] for row in line],
                [row["worst_accuracy"] for row in line],
                [row["worst_std"] for row in line],
                color=COLORS.get(name, "gray"),
                ls="--" if topology == "chain" else "-",
                marker="o",
                capsize=3,
                label=f"{name} ({topology})",
            )
        ax.set(title=f"momentum {momentum:g}", xscale="log", ylim=(0, 1.02))
        ax.set_xlabel("Dirichlet alpha (heterogeneous: left)")
    panels[0].set_ylabel(f"worst-client test accuracy, {config.dataset}")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return fig


def _labels_along(
    ax: Any, topology: jc.topology.Topology, counts: np.ndarray, alpha: float
) -> None:
    """The labels that each client holds, stacked above its node."""
    share = counts / counts.sum(1, keepdims=True)
    colors = matplotlib.colormaps["tab10"](np.arange(share.shape[1]) % 10)
    base = np.zeros(len(share))
    for label, color in enumerate(colors):
        ax.bar(range(len(share)), share[:, label], 0.8, base, color=color, label=str(label))
        base += share[:, label]
    places = np.stack([np.arange(len(share)), np.full(len(share), -0.22)], 1)
    main = colors[share.argmax(1)]
    jc.topology.draw(topology, ax, values=main, positions=places, node_size=230)
    ax.set_title(f"the {topology.name}, and the labels of each client at Dirichlet({alpha:g})")
    ax.legend(ncols=1, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, title="digit")
