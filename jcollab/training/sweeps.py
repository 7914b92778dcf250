"""Hyper-parameters times seeds as one program, and a table of what came out."""

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
    """Runs ``fn`` for every point of a grid and every seed, all of them in one compiled program.

    Runs are vectorized (in chunks) and spread over the devices, see
    :func:`jcollab.layout.per_replica`.

    Args:
        fn: ``fn(settings, key) -> dict`` of one run, traceable: ``settings`` has a scalar for
            each name of the grid; the results are scalars, or arrays ``[T]`` of one length.
        grid: numbers to try by name; whole numbers stay int32, others are float32.
        seeds: how many, or which, all different and in 0..2^32 - 1; the key is
            ``jax.random.key(seed)``.
        chunk: runs at a time on a device; None for all. Large models on a CPU want 1.

    Returns:
        A table with a row for each run (for each of its T steps, column ``step``, where results
        are arrays), and a column for each name of the grid, ``seed``, and each result. Rows are
        in the order of the grid, its last name varying fastest, then of the seeds, then of steps.

    Raises:
        ImportError: without pandas.
        TypeError: if ``fn`` is no function, or returns no dict.
        ValueError: if the grid or the seeds are empty, seeds are equal or out of range, a value is
            no finite number, a name is ``seed`` or ``step``, chunk < 1, or results have other
            shapes.

    Example:
        >>> import jax.numpy as jnp, jcollab as jc
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
    shapes = jax.eval_shape(fn, *jax.tree.map(lambda leaf: leaf[0], (settings, keys)))
    length = _length(shapes)
    compiled = program(
        fn,
        ("sweep", chunk),
        lambda get: jax.jit(layout.per_replica(lambda *own: get()(*own), 0, chunk)),
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
    """Mean and standard deviation (N - 1) over seeds of every result.

    Args:
        table: from :func:`sweep`.
        by: names of the grid (and ``step``).

    Returns:
        A row for each point, columns ``RESULT_mean`` and ``RESULT_std``.

    Raises:
        ValueError: if a name is none of the table's.
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
    """The point of the grid with the best mean over seeds of a metric on validation data.

    Points where a seed is not finite lose.

    Args:
        table: from :func:`sweep`, of one step.
        by: names of the grid.
        metric: a column; choosing by test data would make the result on them meaningless.
        maximize: whether larger is better.

    Raises:
        ValueError: if the metric is none of the table's, is named after the test data, or is
            finite nowhere.
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
        raise ValueError(f"metric {metric!r} is finite for all seeds nowhere")
    point = means.idxmax() if maximize else means.idxmin()
    return dict(zip(by, point if isinstance(point, tuple) else (point,), strict=True))


def _check_numbers(name: str, column: np.ndarray) -> None:
    if name in ("seed", "step"):
        raise ValueError(f"grid must not have {name!r}, which is a column of its own")
    if column.ndim != 1 or not len(column) or column.dtype.kind not in "iuf":
        raise ValueError(f"grid[{name!r}] must be a list of numbers, got {column.tolist()!r}")
    if not np.isfinite(column).all():
        raise ValueError(f"grid[{name!r}] must be finite, got {column.tolist()!r}")


def _length(shapes: Any) -> int | None:
    """T of the results that are arrays, None if all are scalars."""
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
