"""Tables of pandas, of other libraries and in files, and their columns as arrays."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jcollab.data.files import OPENERS, existing, opened

KINDS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def as_frame(table: Any, columns: Sequence[str]) -> Any:
    """Returns the columns of a table as a pandas DataFrame; nothing else is read or converted.

    Args:
        table: DataFrame, a table with ``to_pandas`` (polars, pyarrow, Hugging Face ``datasets``),
            or the path of a file: CSV, TSV, JSON lines (each also compressed) or parquet.
        columns: names of the columns that are needed.

    Raises:
        ImportError: if pandas is not installed.
        TypeError: if it is none of these.
        FileNotFoundError: if the file is missing.
        ValueError: if the type of a file is unknown, or its content damaged.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("tables need pandas: pip install 'jax-collab[experiments]'") from error
    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, (str, os.PathLike)):
        return _read(existing(table, "a table"), columns)
    if not hasattr(table, "to_pandas"):
        raise TypeError(
            "frame must be a pandas DataFrame, a table with to_pandas, or the path of a file, got "
            f"{type(table).__name__}"
        )
    # a data set of Hugging Face may be larger than memory: only the columns that are needed
    select = getattr(table, "select_columns", None) or getattr(table, "select", None)
    known: Any = getattr(table, "column_names", None) or getattr(table, "columns", ())
    if callable(select) and set(columns) <= set(known):
        table = select(list(dict.fromkeys(columns)))
    return table.to_pandas()


def _read(file: pathlib.Path, columns: Sequence[str]) -> Any:
    import pandas as pd

    stem = file.with_suffix("") if file.suffix in OPENERS else file
    wanted = set(columns)
    if stem.suffix not in KINDS:
        raise ValueError(f"the suffix of a table must be one of {', '.join(KINDS)}, got {file}")
    try:
        if stem.suffix == ".parquet":
            import pyarrow.parquet

            # pandas would raise for a missing column; here, the caller does, as for a DataFrame
            present = [c for c in pyarrow.parquet.read_schema(file).names if c in wanted]
            return pd.read_parquet(file, columns=present)
        with opened(file) as stream:
            if stem.suffix in (".json", ".jsonl"):
                frame = pd.read_json(stream, lines=True)
                return frame[[name for name in frame.columns if name in wanted]]
            separator = "\t" if stem.suffix == ".tsv" else ","
            return pd.read_csv(stream, sep=separator, usecols=lambda name: name in wanted)
    except (ValueError, pd.errors.ParserError, OSError) as error:
        raise ValueError(f"{file} must be a readable table, got: {error}") from error


def column(frame: Any, name: str) -> Any:
    """Returns one column, a pandas Series without missing values."""
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
    return values


def numbers(frame: Any, name: str) -> np.ndarray:
    """Returns a column of numbers, of arrays of one shape, or of encoded images.

    Images (cells with the bytes of a file, as in data sets of Hugging Face) are decoded to float32
    ``[N, height, width, channels]`` in [0, 1].
    """
    values = column(frame, name).to_numpy()
    if values.dtype == object:
        values = _stacked(name, values)
    if values.dtype.kind not in "iufb":
        raise TypeError(
            f"column {name!r} must be numbers, got {frame[name].dtype}; pandas.factorize converts "
            "classes to integers, and for texts, x may be an array that is computed from them"
        )
    if not (finite := np.isfinite(values).reshape(len(values), -1).all(1)).all():
        raise ValueError(f"column {name!r} must be finite, got infinity in row {_row(~finite)}")
    return values


def _stacked(name: str, cells: np.ndarray) -> np.ndarray:
    if isinstance(cells[0], dict) and "bytes" in cells[0]:
        values: list[Any] = [_decoded(cell["bytes"]) for cell in cells]
    else:  # pandas returns objects for its nullable types and for lists; NumPy finds the type again
        values = [np.array(c.tolist()) if isinstance(c, np.ndarray) else c for c in cells]
    shapes = set(map(np.shape, values))
    if len(shapes) > 1:
        shown = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise ValueError(f"column {name!r} must have entries of one shape, got {shown}")
    return np.array(values)


def _decoded(content: bytes) -> np.ndarray:
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(content)), np.float32) / 255
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _row(flags: Any) -> int:
    """Returns the index of the first flagged row, from 0."""
    return int(np.argmax(np.asarray(flags)))
