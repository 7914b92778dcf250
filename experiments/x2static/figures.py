"""Figures of the X2Static experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.contract import Row
from jcollab import plots


def bars(ax: Any, rows: Sequence[Row], label: str, sets: Sequence[str]) -> None:
    """A group of bars for each row, named by its field ``label``, with a bar for each set."""
    wide = 0.8 / max(len(sets), 1)
    for i, name in enumerate(sets):
        places = np.arange(len(rows)) + i * wide
        values = [np.nan_to_num(row[name]) for row in rows]
        ax.bar(places, values, wide, label=name, color=plots.COLORS[i])
    ax.set_xticks(np.arange(len(rows)) + 0.4, [row[label] for row in rows], rotation=30, ha="right")
    ax.set_ylabel("Spearman" if "SimLex" in sets else "score")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
