"""Labeled image sets as NumPy arrays, from TFDS directories (array_record) and scikit-learn.

TensorFlow is not imported: TFDS reads the array_record format through ``as_data_source``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jcollab import checks
from jcollab.layout import cache_dir

DIGITS_TEST_FRACTION = 0.2


class Dataset(NamedTuple):
    """Images and their labels, or a batch of them.

    Attributes:
        x: float32 ``[N, height, width, channels]`` in [0, 1]; uint8 from ``load(scale=False)``.
        y: int32 ``[N]``.

    Example:
        >>> data = jc.data.Dataset(x=np.zeros((3, 8, 8, 1), np.float32), y=np.array([0, 1, 1]))
        >>> jc.data.by_client(data, [[0], [1, 2]]).examples.x.shape
        (3, 8, 8, 1)
    """

    x: np.ndarray
    y: np.ndarray


def data_dir() -> str | None:
    """Returns the TFDS directory: the variable JCOLLAB_DATA, or None for the default of TFDS.

    Example:
        >>> import os
        >>> jc.data.data_dir() == (os.environ.get("JCOLLAB_DATA") or None)
        True
    """
    return os.environ.get("JCOLLAB_DATA") or None


def digits(split: str = "train") -> Dataset:
    """Returns scikit-learn's handwritten digits of 8 x 8 pixels, 1437 for training, 360 for tests.

    Args:
        split: ``"train"`` or ``"test"``; the split is fixed, and stratified by label.

    Raises:
        ValueError: for another split.

    Example:
        >>> jc.data.digits("test").x.shape
        (360, 8, 8, 1)

    Source: Alpaydin and Kaynak 1998, UCI Machine Learning Repository.
    """
    _check_split(split)

    # importing scikit-learn takes about as long as importing all others: only the first call does
    def decode() -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        x, y = load_digits(return_X_y=True)
        x = (x / 16).astype(np.float32).reshape(-1, 8, 8, 1)  # gray levels are 0..16
        parts = train_test_split(x, y, test_size=DIGITS_TEST_FRACTION, random_state=0, stratify=y)
        which = 0 if split == "train" else 1
        return parts[which], parts[2 + which].astype(np.int32)

    x, y = _cached(f"digits-{importlib.metadata.version('scikit-learn')}-{split}", decode)
    return Dataset(np.array(x), y)


def load(
    name: str, split: str = "train", *, directory: str | None = None, scale: bool = True
) -> Dataset:
    """Loads a whole split of a labeled image set into memory.

    The first call decodes all images (seconds); later calls map a cached copy.

    Args:
        name: ``"digits"`` (included in scikit-learn) or a TFDS name such as ``"mnist"``.
        split: ``"train"`` or ``"test"``.
        directory: TFDS data_dir that contains ``NAME/VERSION``; None for :func:`data_dir`.
        scale: True returns float32 in [0, 1], False the stored uint8 as a read-only array.

    Raises:
        ValueError: for another split or an unknown name.
        FileNotFoundError: if the set is not prepared in the directory.

    Example:
        >>> data = jc.data.load("digits", "train")
        >>> data.x.shape, data.y.dtype.name
        ((1437, 8, 8, 1), 'int32')
    """
    checks.kind(str, name=name)
    _check_split(split)
    if name == "digits":
        if not scale:
            raise ValueError("scale must be True for 'digits', which are not stored as bytes")
        return digits(split)
    x, y = _decoded(name, split, directory)
    return Dataset(x.astype(np.float32) / 255 if scale else np.asarray(x), np.asarray(y))


def prepared(name: str, directory: str | None = None) -> Any:
    """Returns the TFDS builder of a set that is prepared in the directory, as for :func:`load`.

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: if the set is not prepared.
    """
    import tensorflow_datasets as tfds

    directory = directory or data_dir()
    try:
        builder = tfds.builder(name, data_dir=directory, file_format="array_record")
    # TFDS raises ValueError for a string that is not a valid name
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        raise ValueError(f"name must be 'digits' or a TFDS data set, got {name!r}") from error
    where = pathlib.Path(builder.data_dir)
    if not (where / "dataset_info.json").exists():
        raise FileNotFoundError(
            f"{name} is not prepared in {where}. Set JCOLLAB_DATA to a TFDS data_dir that contains "
            f"it, or prepare it once (only this step needs tensorflow): "
            f"tfds.builder({name!r}, file_format='array_record').download_and_prepare()"
        )
    return builder


def _decoded(name: str, split: str, directory: str | None) -> tuple[np.ndarray, np.ndarray]:
    builder = prepared(name, directory)
    where = pathlib.Path(builder.data_dir)
    # The digest of names and sizes is part of the cached file's name, so that a set that was
    # prepared again is decoded again.
    stamp = [(f.name, f.stat().st_size) for f in sorted(where.iterdir())]
    digest = hashlib.sha256(repr((str(where.resolve()), stamp)).encode()).hexdigest()[:12]

    def decode() -> tuple[np.ndarray, np.ndarray]:
        source = builder.as_data_source(split)
        items = source.__getitems__(range(len(source)))
        x = np.stack([item["image"] for item in items])
        return x, np.array([item["label"] for item in items], np.int32)

    return _cached(f"{name}-{where.name}-{split}-{digest}", decode)


def _cached(
    stem: str, decode: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images, read-only, and labels from files; the first call decodes and writes them."""
    folder = cache_dir() / "datasets"
    x_file, y_file = folder / f"{stem}.x.npy", folder / f"{stem}.y.npy"
    if x_file.exists() and y_file.exists():
        # mapped and not read: processes on one machine share the pages
        return np.load(x_file, mmap_mode="r"), np.load(y_file)
    x, y = decode()
    for file, array in ((x_file, x), (y_file, y)):
        _save(file, array)
    x.setflags(write=False)  # as an array that is mapped from the file
    return x, y


def _save(file: pathlib.Path, array: np.ndarray) -> None:
    """Writes the whole file or nothing; without permission to write, nothing is cached."""
    # Renaming is atomic: no other process ever reads a file that is written in part.
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.save(stream, array)
        os.replace(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _check_split(split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
