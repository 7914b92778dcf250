"""Data of clients from a table of pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jcollab.data.clients import ClientRanges, by_owner
from jcollab.data.datasets import Dataset


def by_column(
    frame: Any, column: str, x: str | Sequence[str], y: str | None = None
) -> ClientRanges:
    """The data of clients from a table: a column has the client of each row.

    Every distinct value is a client, and its name; clients are numbered in ascending order.

    Args:
        frame: pandas DataFrame of N rows.
        column: name of the column of clients: texts or integers.
        x: name of the column of inputs, which become ``[N]``, or a list of names, for ``[N, d]``.
        y: name of the column of labels (integers, which become int32) or targets (floats); None
            for none.

    Returns:
        Ranges whose examples are ``Dataset(x, y)`` with floats of JAX's default type; without y,
        they are x.

    Raises:
        ImportError: without pandas.
        TypeError: if frame is no DataFrame, clients are neither texts nor integers, or inputs or
            labels are no numbers.
        ValueError: if there is no such column or two of that name, no row, or a value is missing
            or infinite (with column and row).

    Example:
        >>> import pandas as pd
        >>> table = {"user_id": ["bob", "ann", "bob"], "age": [31, 45, 31], "label": [0, 1, 1]}
        >>> data = jc.data.by_column(pd.DataFrame(table), "user_id", ["age"], "label")
        >>> list(data.names), data.examples.y.tolist(), data.size.tolist()
        (['ann', 'bob'], [1, 0, 1], [1, 2])
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            'by_column needs pandas: pip install "jax-collab[experiments]"'
        ) from error
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame must be a pandas DataFrame, got {type(frame).__name__}")
    if not len(frame):
        raise ValueError("frame must have at least one row, got none")
    several = not isinstance(x, str)
    inputs = [_numbers(frame, name) for name in ([x] if isinstance(x, str) else x)]
    if not inputs:
        raise ValueError(f"x must have at least one column, got {x!r}")
    inputs = [values.astype(jax.dtypes.canonicalize_dtype(float)) for values in inputs]
    examples: Any = np.stack(inputs, 1) if several else inputs[0]
    if y is not None:
        target = _numbers(frame, y)
        whole = target.dtype.kind in "iub"
        kind = np.int32 if whole else jax.dtypes.canonicalize_dtype(float)
        examples = Dataset(examples, target.astype(kind))
    owners = _column(frame, column)
    kinds = {str if isinstance(v, str) else type(v) for v in owners.tolist()}
    if kinds not in ({str}, {int}):
        shown = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"column {column!r} must be all texts or all integers, got {shown}")
    return by_owner(examples, owners)


def _column(frame: Any, name: str) -> np.ndarray:
    matching = [own for own in frame.columns if own == name]
    if len(matching) != 1:
        raise ValueError(
            f"column {name!r} must be in the frame once, got {len(matching)} times in "
            f"{list(frame.columns)}"
        )
    values = frame[name]
    if (missing := values.isna()).any():
        raise ValueError(
            f"column {name!r} must have no missing value, got one in row {_row(missing)}"
        )
    return values.to_numpy()


def _numbers(frame: Any, name: str) -> np.ndarray:
    values = _column(frame, name)
    if values.dtype == object:  # of pandas' nullable types, and of texts
        values = np.array(values.tolist())
    if values.dtype.kind not in "iufb":
        raise TypeError(
            f"column {name!r} must be numbers, got {frame[name].dtype}; pandas.factorize numbers "
            "classes"
        )
    if not (finite := np.isfinite(values)).all():
        raise ValueError(f"column {name!r} must be finite, got infinity in row {_row(~finite)}")
    return values


def _row(flags: Any) -> int:
    """The place of the first row that is flagged, from 0."""
    return int(np.argmax(np.asarray(flags)))
