"""Figures of the RelaySGD experiments."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

import jcollab as jc
from experiments.relaysgd.config import Heterogeneity
from jcollab import plots

NAMES = {"all-reduce": plots.COLORS[2], "D-PSGD": plots.COLORS[1], "RelaySGD": plots.COLORS[0]}


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
        for name, color in NAMES.items():
            curve = curves[alpha, name]
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
