"""Figures that several papers draw."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jcollab import plots

Curves = Mapping[str, np.ndarray]


def draw_curves(
    panels: Mapping[str, Mapping[str, Curves]], *metrics: str, **properties: Any
) -> Any:
    """Draws curves against rounds, with bands over seeds, and returns the figure.

    Args:
        panels: curves by title and label: ``round [E]`` and metrics ``[S, E]``.
        *metrics: the name of one metric, or one name for each panel.
        **properties: properties of all axes.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.2 * columns + 2, 3.8 * rows)
    fig, grid = plots.subplots(rows, columns, sharey=True, squeeze=False, figsize=size)
    if len(metrics) == 1:
        metrics *= len(panels)
    for ax, (title, curves), metric in zip(grid.flat, panels.items(), metrics, strict=False):
        for i, (label, curve) in enumerate(curves.items()):
            color, dash = plots.COLORS[i % len(plots.COLORS)], plots.DASHES[i % len(plots.DASHES)]
            plots.band(ax, curve["round"], curve[metric], color=color, label=label, ls=dash)
        ax.set(title=title, xlabel="communication rounds", ylabel=metric.replace("_", " "))
        ax.set(**properties)
        ax.label_outer(remove_inner_ticks=True)
    for ax in grid.flat[len(panels) :]:
        ax.axis("off")
    grid[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def kept_curves(name: str, *metrics: str, **properties: Any) -> Callable[..., None]:
    """Returns a function ``figures(config, rows, context)`` that draws the kept curves."""
    return lambda config, rows, context: context.save(
        draw_curves(context.kept, *metrics, **properties), name
    )
