"""The data of clients from a pandas DataFrame."""

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
    """Builds the data of clients from a table in which one column identifies the client of a row.

    Every distinct value of the column is the name of a client; clients are in ascending order of
    their names.

    Args:
        frame: pandas DataFrame of N rows.
        column: name of the column of clients, strings or integers.
        x: name of one column, for inputs ``[N]``, or a list of names, for inputs ``[N, d]``.
        y: name of the column of labels (integers, converted to int32) or targets (floats); None
            for data without labels.

    Returns:
        :class:`jcollab.data.ClientRanges` with examples ``Dataset(x, y)``, or x without y. Floats
        have JAX's default type.

    Raises:
        ImportError: if pandas is not installed.
        TypeError: if frame is not a DataFrame, clients are not all strings or all integers, or
            inputs or labels are not numbers.
        ValueError: if a column is missing or its name is not unique, the frame has no rows, or a
            value is missing or infinite; the message contains column and row.

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
    # exact types: bool is a subclass of int, but does not identify clients
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
    # pandas returns objects for strings and for its nullable types; NumPy infers the type again
    if values.dtype == object:
        values = np.array(values.tolist())
    if values.dtype.kind not in "iufb":
        raise TypeError(
            f"column {name!r} must be numbers, got {frame[name].dtype}; pandas.factorize converts "
            "classes to integers"
        )
    if not (finite := np.isfinite(values)).all():
        raise ValueError(f"column {name!r} must be finite, got infinity in row {_row(~finite)}")
    return values


def _row(flags: Any) -> int:
    """Returns the index of the first flagged row, from 0."""
    return int(np.argmax(np.asarray(flags)))
