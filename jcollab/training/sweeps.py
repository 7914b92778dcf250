"""Sweeps over hyperparameters and seeds in one program, and tables of their results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, program
from jcollab.training.replicas import cross

if TYPE_CHECKING:
    import pandas as pd


def sweep(
    fn: Callable[[dict[str, Array], Array], Mapping[str, Array]],
    grid: Mapping[str, Sequence[float]],
    seeds: int | Sequence[int],
    *,
    chunk: int | None = None,
) -> pd.DataFrame:
    """Runs ``fn`` for every point of a grid and every seed, in one compiled program.

    Runs are vectorized (in chunks) and split over the devices, see
    :func:`jcollab.layout.per_replica`.

    Args:
        fn: ``fn(settings, key) -> dict``, a traceable function of one run. ``settings`` contains a
            scalar for each name of the grid. Results are scalars, or arrays ``[T]`` of one length.
        grid: values by name. Integers are int32, other numbers float32.
        seeds: number of seeds, or a list of different seeds in 0..2^32 - 1. The key of a run is
            ``jax.random.key(seed)``.
        chunk: number of runs at a time on a device; None for all. For large models on a CPU,
            1 is fastest.

    Returns:
        A table with a row for each run, or, if results are arrays, for each of its T steps (column
        ``step``). It has a column for each name of the grid, ``seed``, and each result. Rows are
        sorted by grid point (the last name varies fastest), seed and step.

    Raises:
        ImportError: if pandas is not installed.
        TypeError: if ``fn`` is not a function, or does not return a dict.
        ValueError: if the grid or the seeds are empty, seeds are equal or out of range, a value is
            not a finite number, a name is ``seed`` or ``step``, chunk < 1, or results have other
            shapes.

    Example:
        >>> table = jc.sweep(lambda s, key: {"loss": (s["lr"] - 0.2) ** 2}, {"lr": [0.1, 0.2]}, 2)
        >>> list(table.columns), len(table)
        (['lr', 'seed', 'loss'], 4)
    """
    try:
        import pandas as pd  # slow to import
    except ImportError as error:
        raise ImportError('sweep needs pandas: pip install "jax-collab[experiments]"') from error

    checks.functions(fn=fn)
    checks.counts(chunk=chunk)
    columns = {name: np.asarray(values) for name, values in grid.items()}
    for name, column in columns.items():
        _check_numbers(name, column)
    if not columns:
        raise ValueError("grid must have at least one name, got none")
    chosen = checks.seeds("seeds", seeds)
    points = list(itertools.product(*columns.values()))
    tried = {name: np.array([point[i] for point in points]) for i, name in enumerate(columns)}
    given = {name: np.repeat(values, len(chosen)) for name, values in tried.items()}
    settings, every_seed, keys = cross(tried, chosen)
    # shapes first: a wrong result of fn is reported before minutes of compilation
    shapes = jax.eval_shape(fn, *jax.tree.map(lambda leaf: leaf[0], (settings, keys)))
    length = _length(shapes)
    compiled = program(
        fn,
        ("sweep", chunk),
        lambda get: jax.jit(
            layout.per_replica(lambda *own: get()(*own), 0, chunk),
            compiler_options=layout.compiler_options(),
        ),
    )
    results = jax.device_get(compiled(settings, keys))
    times = length or 1
    table = {name: np.repeat(values, times) for name, values in given.items()}
    table["seed"] = np.repeat(every_seed, times)
    if length:
        table["step"] = np.tile(np.arange(length), len(every_seed))
    for name, values in results.items():
        flat = values.reshape(len(every_seed), -1)
        table[name] = (flat if flat.shape[1] == times else flat.repeat(times, 1)).reshape(-1)
    return pd.DataFrame(table)


def summarize(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Computes the mean and the standard deviation (N - 1) over seeds of every result.

    Args:
        table: from :func:`sweep`.
        by: names of the grid (and ``step``).

    Returns:
        A table with a row for each point, and columns ``RESULT_mean`` and ``RESULT_std``.

    Raises:
        ValueError: if a name is not a column of the table.

    Example:
        >>> table = jc.sweep(lambda s, key: {"loss": (s["lr"] - 0.5) ** 2}, {"lr": [0.5, 1.0]}, 2)
        >>> jc.training.summarize(table, by=["lr"]).to_dict("list")
        {'lr': [0.5, 1.0], 'loss_mean': [0.0, 0.25], 'loss_std': [0.0, 0.0]}
    """
    for name in by:
        checks.one_of("by", name, table.columns)
    results = [name for name in table.columns if name not in (*by, "seed", "step")]
    grouped = table.groupby(list(by), sort=False)[results].agg(["mean", "std"])
    grouped.columns = [f"{name}_{kind}" for name, kind in grouped.columns]
    return grouped.reset_index()


def best(
    table: pd.DataFrame, by: Sequence[str], metric: str, *, maximize: bool = True
) -> dict[str, Any]:
    """Returns the point of the grid with the best mean over seeds of a validation metric.

    Points at which the metric is not finite for some seed are excluded.

    Args:
        table: from :func:`sweep`, with one step.
        by: names of the grid.
        metric: name of a column, measured on validation data. Its name must not start with "test":
            a choice by test data would bias the result on them.
        maximize: whether larger is better.

    Raises:
        ValueError: if the metric is not a column of the table, its name starts with "test", or no
            point has finite values for all seeds.

    Example:
        >>> table = jc.sweep(lambda s, key: {"loss": (s["lr"] - 0.5) ** 2}, {"lr": [0.5, 1.0]}, 2)
        >>> point = jc.training.best(table, ["lr"], "loss", maximize=False)
        >>> print(point["lr"])
        0.5
    """
    if metric not in table.columns:
        raise ValueError(f"metric must be one of {', '.join(table.columns)}, got {metric!r}")
    if metric.startswith("test"):
        raise ValueError(f"metric must be measured on validation data, got {metric!r}")
    values = table[metric].where(np.isfinite(table[metric]))
    means = values.groupby([table[name] for name in by], sort=False).mean()
    whole = values.isna().groupby([table[name] for name in by], sort=False).sum() == 0
    means = means[whole]
    if means.empty:
        raise ValueError(f"metric {metric!r} must be finite for all seeds at some point, got none")
    point = means.idxmax() if maximize else means.idxmin()
    return dict(zip(by, point if isinstance(point, tuple) else (point,), strict=True))


def _check_numbers(name: str, column: np.ndarray) -> None:
    if name in ("seed", "step"):
        raise ValueError(f"grid must not contain {name!r}, which is another column of the table")
    if column.ndim != 1 or not len(column) or column.dtype.kind not in "iuf":
        raise ValueError(f"grid[{name!r}] must be a list of numbers, got {column.tolist()!r}")
    if not np.isfinite(column).all():
        raise ValueError(f"grid[{name!r}] must be finite, got {column.tolist()!r}")


def _length(shapes: Any) -> int | None:
    """Returns T if results are arrays, None if all are scalars."""
    if not isinstance(shapes, Mapping) or not shapes:
        raise TypeError(f"fn must return a dict of results, got {type(shapes).__name__}")
    lengths = {x.shape for x in shapes.values() if x.shape != ()}
    if not lengths:
        return None
    (shape, *more) = lengths
    if more or len(shape) != 1:
        got = {name: x.shape for name, x in shapes.items()}
        raise ValueError(f"results must be scalars, or arrays [T] of one length, got {got}")
    return shape[0]
