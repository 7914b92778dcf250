"""Figure of a training: error, loss and variance over rounds."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

from experiments.contract import Row
from jcollab import plots

OTHERS = {
    "large-batch SGD": (plots.COLORS[6], (0, (1, 1.5))),
    "SCAFFOLD": (plots.COLORS[1], (0, (4, 2))),
    "FedProx": (plots.COLORS[3], (0, (6, 2, 1, 2))),
}
PANELS = (
    ("test_error", "test error"),
    ("mean_loss", "training loss of all clients"),
    ("gradient_variance", "variance of the clients' gradients"),
)


@plots.style()
def figure(
    curves: dict[tuple[str, float], dict[str, np.ndarray]], rows: list[Row], plain: str
) -> Any:
    """Three panels against rounds; aligned methods in shades, from none to the largest beta.

    Args:
        curves: by method and value, evaluations ``[E, seeds]``.
        rows: of the run, to leave out what diverged.
        plain: name of the method at beta = 0.
    """
    fig = plots.figure(figsize=(15.5, 4.6))
    panels = fig.subplots(1, 3)
    aligned = [key for key in curves if key[0] not in OTHERS]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(aligned)))
    best = _best_strength(rows)
    for key, curve in curves.items():
        name, value = key
        if name == "FedProx" and value != best:
            continue  # one line is enough
        label = name
        if key in aligned:
            color, dashes = shades[aligned.index(key)], "-"
            label += "" if name == plain else rf", $\beta$ = {value:g}"
        else:
            color, dashes = OTHERS[name]
            label += rf", $\mu$ = {value:g}" if name == "FedProx" else ""
        above = 2 if key in aligned else 3  # dashes over what they coincide with
        lines = curve | {"test_error": 1 - curve["test_accuracy"]}
        for ax, (measure, title) in zip(panels, PANELS, strict=True):
            mean = lines[measure].mean(1)
            style = {"color": color, "ls": dashes, "lw": 1.8, "zorder": above}
            ax.plot(curve["round"], mean, label=label, **style)
            ax.set(title=title, xlabel="communication rounds", yscale="log")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    return fig


def _best_strength(rows: list[Row]) -> float | None:
    own: dict[float, list[float]] = {}
    for row in rows:
        if row["method"] == "FedProx":
            own.setdefault(row["mu"], []).append(row["test_accuracy"])
    return max(own, key=lambda mu: np.mean(own[mu])) if own else None
