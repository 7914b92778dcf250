"""Files of LEAF, a benchmark of federated learning: FEMNIST, Shakespeare, Sent140 and others."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from jcollab import checks
from jcollab.core import Names
from jcollab.data.clients import ClientRanges
from jcollab.data.datasets import Dataset
from jcollab.data.files import OPENERS, existing, opened

Paths = str | os.PathLike | Sequence[str | os.PathLike]
Encode = Callable[[list], np.ndarray]


def from_leaf(
    paths: Paths,
    *,
    encode_x: Encode = np.asarray,
    encode_y: Encode = np.asarray,
    clients: Collection[str] | None = None,
) -> ClientRanges:
    """Reads the data of clients from the JSON files that LEAF's scripts write.

    A file is an object with ``users``, a list of names, and ``user_data``, which has the lists
    ``x`` and ``y`` of each user. One file at a time is in memory as text; of the clients that were
    read, only the encoded arrays are kept.

    Args:
        paths: a file, a folder (all of its JSON files), or a list of files. Files may be compressed
            (``.json.gz``).
        encode_x: ``encode_x(list of m inputs of one client) -> array [m, ...]``. The default takes
            numbers (FEMNIST); texts need a function.
        encode_y: the same for labels.
        clients: names of the clients to read, for example those of the training files; None for
            all.

    Returns:
        :class:`jcollab.data.ClientRanges` with examples ``Dataset(x, y)``: floats have 32 bits,
        integers are int32. Clients are in ascending order of their names.

    Raises:
        FileNotFoundError: if a file is missing, or a folder has no JSON file.
        TypeError: if an encoder is not callable, or does not return numbers.
        ValueError: if a file is not in this format, a client has no data or other shapes than the
            first, or a client that was asked for is missing; with the file and the client.

    Example:
        >>> import json, pathlib, tempfile
        >>> users = {"bob": {"x": ["ab", "bc"], "y": ["c", "d"]}, "ann": {"x": ["xy"], "y": ["z"]}}
        >>> codes = lambda texts: np.array([[ord(c) - 97 for c in text] for text in texts])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     text = json.dumps({"users": list(users), "user_data": users})
        ...     _ = pathlib.Path(folder, "data.json").write_text(text)
        ...     data = jc.data.from_leaf(folder, encode_x=codes, encode_y=codes)
        >>> list(data.names), data.size.tolist(), data.examples.x.tolist()
        (['ann', 'bob'], [1, 2], [[23, 24], [0, 1], [1, 2]])

    Source: Caldas et al. 2018, "LEAF: a benchmark for federated settings".
    """
    checks.functions(encode_x=encode_x, encode_y=encode_y)
    wanted = None if clients is None else set(clients)
    datasets: dict[str, Dataset] = {}
    first: tuple[str, tuple] | None = None
    for file in _files(paths):
        for user, own in _users(file):
            if wanted is not None and user not in wanted:
                continue
            where = f"{file}, user {user!r}"
            if user in datasets:
                raise ValueError(f"{where}: a user must be in one file, got a second entry")
            data = Dataset(
                _encoded(f"{where}: x", encode_x, own["x"]),
                _encoded(f"{where}: y", encode_y, own["y"]),
            )
            if len(data.x) != len(data.y):
                raise ValueError(
                    f"{where}: x and y must have one length, got {len(data.x)} and {len(data.y)}"
                )
            shapes = (data.x.shape[1:], data.y.shape[1:])
            first = first or (user, shapes)
            if shapes != first[1]:
                raise ValueError(
                    f"{where} must have examples of the shapes {first[1]} of {first[0]!r}, got "
                    f"{shapes}"
                )
            datasets[user] = data
    if missing := sorted((wanted or set()) - set(datasets)):
        raise ValueError(f"clients must be in the files, got {missing[:3]}, which are not")
    if not datasets:
        raise ValueError(f"paths must have at least one user, got none in {paths}")
    names = sorted(datasets)
    size = np.array([len(datasets[name].y) for name in names], np.int32)
    examples = Dataset(*map(_joined, zip(*(datasets[name] for name in names), strict=True)))
    return ClientRanges(examples, (np.cumsum(size) - size).astype(np.int32), size, Names(names))


def _files(paths: Paths) -> list[pathlib.Path]:
    if not isinstance(paths, (str, os.PathLike)):
        return [existing(path, "a JSON file") for path in paths]
    folder = pathlib.Path(paths)
    if not folder.is_dir():
        return [existing(paths, "a JSON file or a folder")]
    files = sorted(f for f in folder.iterdir() if ".json" in (f.suffix, f.with_suffix("").suffix))
    if files := [f for f in files if f.suffix == ".json" or f.suffix in OPENERS]:
        return files
    raise FileNotFoundError(f"paths must have JSON files, got {folder} without one")


def _users(file: pathlib.Path) -> Iterator[tuple[str, dict[str, list]]]:
    try:
        with opened(file) as stream:
            content = json.load(stream)
        users, data = content["users"], content["user_data"]
        for user in users:
            yield user, {"x": data[user]["x"], "y": data[user]["y"]}
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} of {file} must be JSON, got: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{file} must have 'users' and 'user_data' with x and y for each, got {error!r}"
        ) from error


def _encoded(name: str, encode: Encode, values: list) -> np.ndarray:
    if not values:
        raise ValueError(f"{name} must have at least one example, got none")
    array = np.asarray(encode(values))
    if array.dtype.kind not in "iufb" or array.shape[:1] != (len(values),):
        shown = "texts" if array.dtype.kind in "US" else f"{array.dtype}{list(array.shape)}"
        raise TypeError(
            f"{name} must become numbers of shape [m={len(values)}, ...], got {shown}; encode_x "
            "and encode_y convert the lists of a client"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got another number")
    return array


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    # in JSON, the pixels of a client may all be 0 or 1 without a decimal point
    kind = np.float32 if any(array.dtype.kind == "f" for array in arrays) else np.int32
    return np.concatenate([array.astype(kind) for array in arrays])
