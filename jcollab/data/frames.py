"""The data of clients from a table in which a column has the owner of each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jcollab.data.clients import ClientRanges, by_owner
from jcollab.data.datasets import Dataset
from jcollab.data.tables import as_frame, column, numbers

PyTree = Any


def by_column(
    frame: Any,
    owner: str,
    x: str | Sequence[str] | PyTree,
    y: str | None = None,
    *,
    order: str | None = None,
) -> ClientRanges:
    """Builds the data of clients from a table in which one column has the owner of each row.

    Every distinct value of the column is the name of a client; clients are in ascending order of
    their names. :func:`jcollab.data.split` splits the rows of each client, and drops small clients.

    Args:
        frame: pandas DataFrame of N rows; a table with ``to_pandas`` (Hugging Face ``datasets``,
            polars, pyarrow); or the path of a file: CSV, TSV, JSON lines (also compressed: ``.gz``,
            ``.xz``, ``.bz2``, ``.zst``) or parquet. Only the columns that are named are read.
        owner: name of the column of owners, strings or integers.
        x: name of one column, for inputs ``[N]`` (``[N, ...]`` if its cells are arrays or images);
            a list of names, for inputs ``[N, d]``; or a pytree of arrays ``[N, ...]`` that was
            computed from the table.
        y: name of the column of labels (integers, converted to int32) or targets (floats); None
            for data without labels.
        order: name of a column, for example of times, by which the rows of each client are sorted;
            None keeps the order of the table.

    Returns:
        :class:`jcollab.data.ClientRanges` with examples ``Dataset(x, y)``, or x without y. Floats
        have JAX's default type.

    Raises:
        ImportError: if pandas is not installed.
        TypeError: if frame is not a table, owners are not all strings or all integers, or inputs or
            labels are not numbers.
        FileNotFoundError: if frame is the path of a missing file.
        ValueError: if a file is damaged, a column is missing or its name is not unique, the table
            has no rows or one owner alone, or a value is missing or infinite; the message contains
            column and row.

    Example:
        >>> import pandas as pd
        >>> table = {"user_id": ["bob", "ann", "bob"], "age": [31, 45, 31], "label": [0, 1, 1]}
        >>> data = jc.data.by_column(pd.DataFrame(table), "user_id", ["age"], "label")
        >>> list(data.names), data.examples.y.tolist(), data.size.tolist()
        (['ann', 'bob'], [1, 0, 1], [1, 2])
    """
    named = isinstance(x, str) or (
        isinstance(x, Sequence) and all(isinstance(name, str) for name in x)
    )
    inputs = [] if not named else [x] if isinstance(x, str) else list(x)
    if named and not inputs:
        raise ValueError(f"x must have at least one column, got {x!r}")
    wanted = [owner, *inputs, *(name for name in (y, order) if name is not None)]
    frame = as_frame(frame, wanted)
    if not len(frame):
        raise ValueError("frame must have at least one row, got none")
    if named:
        each = [_floats(numbers(frame, name)) for name in inputs]
        examples: Any = each[0] if isinstance(x, str) else _columns(inputs, each)
    else:
        examples = _of_rows(x, len(frame))
    if y is not None:
        target = numbers(frame, y)
        whole = target.dtype.kind in "iub"
        examples = Dataset(examples, target.astype(np.int32) if whole else _floats(target))
    owners = column(frame, owner).to_numpy()
    # exact types: bool is a subclass of int, but does not identify clients
    kinds = {str if isinstance(v, str) else type(v) for v in owners.tolist()}
    if kinds not in ({str}, {int}):
        shown = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"column {owner!r} must be all texts or all integers, got {shown}")
    if len(set(owners.tolist())) == 1:
        raise ValueError(f"column {owner!r} must have at least two owners, got {owners[0]!r} alone")
    if order is not None:
        # stable: rows of one time stay in the order of the table
        rows = np.argsort(column(frame, order).to_numpy(), kind="stable")
        owners, examples = owners[rows], jax.tree.map(lambda leaf: leaf[rows], examples)
    return by_owner(examples, owners)


def _columns(names: list[str], values: list[np.ndarray]) -> np.ndarray:
    for name, own in zip(names, values, strict=True):
        if own.ndim != 1:
            raise ValueError(f"column {name!r} must be numbers in a list of columns, got arrays")
    return np.stack(values, 1)


def _of_rows(x: PyTree, rows: int) -> PyTree:
    for path, leaf in jax.tree_util.tree_leaves_with_path(x):
        where = f"x{jax.tree_util.keystr(path)}"
        if not isinstance(leaf, (np.ndarray, jax.Array)) or leaf.dtype.kind not in "iufb":
            kind = leaf.dtype if isinstance(leaf, np.ndarray) else type(leaf).__name__
            raise TypeError(f"{where} must be columns or an array of numbers, got {kind}")
        if leaf.shape[:1] != (rows,):
            raise ValueError(f"{where} must have shape [N={rows}, ...], got {list(leaf.shape)}")
        bad = ~np.isfinite(leaf).reshape(rows, -1).all(1)
        if bad.any():
            raise ValueError(f"{where} must be finite, got another number in row {bad.argmax()}")
    return jax.tree.map(np.asarray, x)


def _floats(values: np.ndarray) -> np.ndarray:
    return values.astype(jax.dtypes.canonicalize_dtype(float))
