"""Figures in one style."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jcollab import checks

try:
    import matplotlib
    from matplotlib.collections import EllipseCollection
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise ImportError(
        'jcollab.plots needs matplotlib: pip install "jax-collab[experiments]"'
    ) from error

# distinguishable with any color vision (Okabe and Ito)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# for lines that cover one another
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
    """Returns a context, also usable as a decorator, in which figures have the library's style.

    Example:
        >>> import matplotlib
        >>> with jc.plots.style():
        ...     matplotlib.rcParams["font.size"]
        11.0
    """
    return matplotlib.rc_context(STYLE)


def figure(**kwargs: Any) -> Figure:
    """Builds an empty figure without a window and without global state.

    Args:
        **kwargs: arguments of ``matplotlib.figure.Figure``.

    Example:
        >>> len(jc.plots.figure(figsize=(4, 3)).axes)
        0
    """
    # Not through pyplot: it keeps every figure in memory until it is closed, and chooses a backend.
    return Figure(layout="constrained", **kwargs)


def subplots(rows: int = 1, columns: int = 1, *, figsize: Any, **options: Any) -> tuple[Any, Any]:
    """Builds a :func:`figure` and its axes, like ``pyplot.subplots``.

    Args:
        rows: number of rows of axes.
        columns: number of columns of axes.
        figsize: width and height, inches.
        **options: arguments of ``matplotlib.figure.Figure.subplots``.

    Example:
        >>> fig, axes = jc.plots.subplots(2, 3, figsize=(6, 4))
        >>> axes.shape
        (2, 3)
    """
    fig = figure(figsize=figsize)
    return fig, fig.subplots(rows, columns, **options)


def row(count: int, width: float, height: float, margin: float = 0.0) -> tuple[Any, Any]:
    """Builds a figure with panels side by side that share their vertical axis.

    Args:
        count: number of panels.
        width: width of a panel, inches.
        height: height of the figure, inches.
        margin: additional width, inches.

    Example:
        >>> fig, panels = jc.plots.row(3, width=2.0, height=2.5)
        >>> len(panels), fig.get_size_inches().tolist()
        (3, [6.0, 2.5])
    """
    size = (margin + count * width, height)
    fig, panels = subplots(1, count, sharey=True, squeeze=False, figsize=size)
    return fig, panels[0]


def band(
    ax: Any, x: np.ndarray, values: np.ndarray, *, color: str, label: str, **kwargs: Any
) -> None:
    """Draws the mean over repetitions, and the range from the lowest to the highest.

    Args:
        ax: matplotlib axes.
        x: ``[E]``.
        values: ``[S, E]``, one row per repetition.
        color: color of the line and the range.
        label: label in the legend.
        **kwargs: arguments of ``ax.plot``.

    Example:
        >>> fig, ax = jc.plots.subplots(figsize=(4, 3))
        >>> jc.plots.band(ax, [0, 1], [[1.0, 2.0], [3.0, 6.0]], color="C0", label="accuracy")
        >>> ax.lines[0].get_ydata().tolist()
        [2.0, 4.0]
    """
    values = np.asarray(values)
    ax.plot(x, values.mean(0), color=color, label=label, **kwargs)
    ax.fill_between(x, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)


@style()
def curves(result: Any, *names: str) -> Figure:
    """Draws evaluations of a run against rounds, one panel each.

    Args:
        result: from :func:`jcollab.fit`, with an ``evaluate`` that returns numbers ``[]``, or
            ``[S]`` for replicas, for which the mean and the range are drawn.
        *names: names of the evaluations; without names, all that are numbers.

    Raises:
        TypeError: if ``result`` is not the result of a run.
        ValueError: if there is no evaluation with a given name, or no evaluation at all.

    Example:
        >>> state = jc.State((), (), np.array(2))
        >>> evaluations = {"round": np.array([0, 1, 2]), "mean_accuracy": np.array([0.1, 0.6, 0.8])}
        >>> result = jc.training.Result(state, {}, evaluations, "finished")  # as from jc.fit
        >>> [ax.get_title() for ax in jc.plots.curves(result).axes]
        ['mean accuracy']
    """
    if not isinstance(getattr(result, "evaluations", None), dict):
        raise TypeError(f"result must be one of jcollab.fit, got {type(result).__name__}")
    histories = {k: np.asarray(v) for k, v in result.evaluations.items() if k != "round"}
    replicas = np.asarray(result.state.step).ndim  # [S] with replicas
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


@style()
def partition(parts: Sequence[Any] | Mapping[str, Sequence[Any]], labels: np.ndarray) -> Figure:
    """Draws how many examples of each class each client has, as a circle of that area.

    The largest circle of a partition fills its cell.

    Args:
        parts: one index array for each client, for example from :func:`jcollab.data.dirichlet`, or
            several such partitions by name, one panel each.
        labels: int ``[N]``, at least 0.

    Raises:
        TypeError: if labels or indices are not integers.
        ValueError: if labels do not have shape ``[N]`` or are negative, there are no clients, a
            client has no examples, or an index is out of range.

    Example:
        >>> labels = np.arange(100) % 10
        >>> fig = jc.plots.partition(jc.data.dirichlet(labels, 5, alpha=0.1), labels)
        >>> [ax.get_xlabel() for ax in fig.axes]
        ['client']
    """
    named = parts if isinstance(parts, Mapping) else {"": parts}
    counts = {name: checks.class_counts(own, labels) for name, own in named.items()}
    if not counts:
        raise ValueError("parts must have at least one partition, got none")
    widest = max(map(len, counts.values()))
    num_classes = next(iter(counts.values())).shape[1]
    columns = min(3, len(counts))
    rows = -(-len(counts) // columns)
    cell = min(0.3, 12 / columns / max(widest, num_classes))  # inches
    size = (columns * max(2.6, 0.9 + cell * widest), rows * max(2.0, 1.0 + cell * num_classes))
    fig, panels = subplots(rows, columns, figsize=size, squeeze=False)
    for ax in panels.flat[len(counts) :]:
        ax.remove()
    for ax, (name, own) in zip(panels.flat, counts.items(), strict=False):
        places = np.argwhere(own)
        # in units of the axes: the largest circle fills its cell at any size of the figure
        widths = 0.95 * np.sqrt(own[own > 0] / own.max())
        circles = EllipseCollection(
            widths, widths, 0, units="x", offsets=places, offset_transform=ax.transData
        )
        circles.set(facecolor=COLORS[0], linewidth=0)
        ax.add_collection(circles)
        ax.set(xlabel="client", ylabel="class", aspect="equal", axisbelow=True)
        if name:
            ax.set_title(name)
        ax.set(xlim=(-0.6, len(own) - 0.4), ylim=(-0.6, num_classes - 0.4))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(8, integer=True))
    return fig


@style()
def by_client(
    values: Mapping[str, Any], *, name: str = "accuracy", higher_is_better: bool = True
) -> Figure:
    """Draws one number for each client: sorted, as a histogram, and the worst decile and the mean.

    Args:
        values: ``[n]`` for each method, for example ``client_accuracy`` of
            :func:`jcollab.metrics.by_client`.
        name: what the numbers are.
        higher_is_better: whether the worst decile is the lowest, or the highest.

    Raises:
        TypeError: if ``values`` is not a mapping.
        ValueError: if there is no method, or its values are not finite numbers ``[n]``.

    Example:
        >>> fig = jc.plots.by_client({"FedAvg": [0.2, 0.9, 0.8], "Ditto": [0.6, 0.9, 0.9]})
        >>> [ax.get_xlabel() for ax in fig.axes]
        ['clients, sorted', 'accuracy', 'mean accuracy']
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping from methods, got {type(values).__name__}")
    arrays = {method: np.asarray(own, float) for method, own in values.items()}
    for method, own in arrays.items():
        if own.ndim != 1 or not len(own) or not np.isfinite(own).all():
            raise ValueError(f"values[{method!r}] must be finite numbers [n], got {own}")
    if not arrays:
        raise ValueError("values must have at least one method, got none")
    fig, (ordered, counts, fair) = subplots(1, 3, figsize=(12.5, 3.6))
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), 20)
    for i, (method, own) in enumerate(arrays.items()):
        color, dash = COLORS[i % len(COLORS)], DASHES[i % len(DASHES)]
        share = np.linspace(0, 1, len(own)) if len(own) > 1 else [0.5]
        ordered.plot(share, np.sort(own), color=color, label=method, linestyle=dash)
        counts.hist(own, edges, color=color, histtype="step", linewidth=2, linestyle=dash)
        fair.scatter(
            own.mean(),
            np.quantile(own, 0.1 if higher_is_better else 0.9),
            color=color,
            s=60,
            zorder=3,
        )
    ordered.set(xlabel="clients, sorted", ylabel=name, xticks=[0, 0.5, 1])
    ordered.set_xticklabels(["lowest", "median", "highest"])
    counts.set(xlabel=name, ylabel="number of clients")
    fair.set(xlabel=f"mean {name}", ylabel=f"{'lowest' if higher_is_better else 'highest'} decile")
    fair.margins(0.2)
    ordered.legend()
    return fig


def save(fig: Figure, path: str | os.PathLike) -> None:
    """Writes a figure to a file, as PNG or in the format of the suffix.

    Raises:
        TypeError: if ``fig`` is not a figure.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jc.plots.save(jc.plots.figure(figsize=(1, 1)), f"{folder}/empty.png")
        ...     os.listdir(folder)
        ['empty.png']
    """
    if not isinstance(fig, Figure):
        raise TypeError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    with style():
        fig.savefig(path)
