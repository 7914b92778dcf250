"""Figures of the cross-lingual experiments."""

from __future__ import annotations

from typing import Any

import numpy as np

from jcollab import plots


@plots.style()
def bars(values: dict[str, dict[str, float]], names: tuple[str, ...], label: str = "P@1") -> Any:
    """One group of bars for each entry, one bar for each of the named values."""
    figure = plots.figure(figsize=(max(5.0, 1.6 + 1.1 * len(values)), 3.6))
    ax = figure.subplots()
    width = 0.8 / len(names)
    places = np.arange(len(values))
    for i, name in enumerate(names):
        heights = [row.get(name, np.nan) for row in values.values()]
        shown = ax.bar(places + i * width, heights, width, color=plots.COLORS[i], label=name)
        ax.bar_label(shown, fmt="{:.3f}", fontsize=7)
    ax.set_xticks(places + 0.4 - width / 2, list(values), rotation=20, ha="right")
    ax.set_ylim(0, 1.05)
    ax.set_ylabel(label)
    ax.legend(ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)
    return figure
