"""Figures in one style."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

try:
    import matplotlib
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        'jcollab.plots needs matplotlib: pip install "jax-collab[experiments]"'
    ) from error

# distinguishable with any color vision (Okabe and Ito)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# where lines cover one another
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "lines.linewidth": 2.2,
}


def style() -> Any:
    """Context, or decorator of a function that draws, in which figures take the library's style."""
    return matplotlib.rc_context(STYLE)


def figure(**kwargs: Any) -> Figure:
    """An empty figure that no window and no global state knows of."""
    return Figure(layout="constrained", **kwargs)


def subplots(rows: int = 1, columns: int = 1, *, figsize: Any, **options: Any) -> tuple[Any, Any]:
    """A new :func:`figure` and its axes, as from ``pyplot.subplots``.

    Args:
        rows: of axes.
        columns: of axes.
        figsize: width and height, inches.
        **options: of ``matplotlib.figure.Figure.subplots``.
    """
    fig = figure(figsize=figsize)
    return fig, fig.subplots(rows, columns, **options)


def row(count: int, width: float, height: float, margin: float = 0.0) -> tuple[Any, Any]:
    """A new figure of panels side by side that share their vertical axis; all sizes in inches."""
    size = (margin + count * width, height)
    fig, panels = subplots(1, count, sharey=True, squeeze=False, figsize=size)
    return fig, panels[0]


def band(
    ax: Any, x: np.ndarray, values: np.ndarray, *, color: str, label: str, **kwargs: Any
) -> None:
    """A mean over repetitions with the range from the lowest to the highest.

    Args:
        ax: matplotlib axes.
        x: ``[E]``.
        values: ``[S, E]``, one row per repetition.
        color: of line and range.
        label: for the legend.
        **kwargs: of the line.
    """
    values = np.asarray(values)
    ax.plot(x, values.mean(0), color=color, label=label, **kwargs)
    ax.fill_between(x, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)


@style()
def curves(result: Any, *names: str) -> Figure:
    """Evaluations of a run against rounds, one panel each.

    Args:
        result: from :func:`jcollab.fit`, with an ``evaluate`` that reports numbers ``[]`` (or
            ``[S]`` for replicas, of which the mean and the range are drawn).
        *names: which evaluations; none for all of them that are numbers.

    Raises:
        TypeError: if ``result`` is of another kind.
        ValueError: if there is no such evaluation, or none at all.
    """
    if not isinstance(getattr(result, "evaluations", None), dict):
        raise TypeError(f"result must be one of jcollab.fit, got {type(result).__name__}")
    histories = {k: np.asarray(v) for k, v in result.evaluations.items() if k != "round"}
    replicas = np.asarray(result.state.step).ndim
    numbers = [name for name, values in histories.items() if values.ndim == 1 + replicas]
    chosen = names or tuple(numbers)
    if not chosen or not set(chosen) <= set(numbers):
        raise ValueError(f"names must be among {numbers}, got {chosen}")
    fig, panels = subplots(1, len(chosen), squeeze=False, figsize=(4.4 * len(chosen), 3.6))
    for ax, name in zip(panels[0], chosen, strict=True):
        values = histories[name].reshape(len(histories[name]), -1).T
        band(ax, result.evaluations["round"], values, color=COLORS[0], label=name)
        ax.set(title=name.replace("_", " "), xlabel="communication rounds")
    return fig


def save(fig: Figure, path: str | os.PathLike) -> None:
    """Writes a figure as PNG; TypeError if it is none."""
    if not isinstance(fig, Figure):
        raise TypeError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    with style():
        fig.savefig(path)
