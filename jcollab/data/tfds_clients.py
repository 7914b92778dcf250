"""The data of clients from a TFDS data set in which a feature has the owner of each example."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from jcollab import checks
from jcollab.data.clients import ClientRanges, by_owner
from jcollab.data.datasets import Dataset, prepared

CHUNK = 1024  # examples that are decoded together


def from_tfds(
    name: str,
    client: str,
    x: str,
    y: str | None = None,
    *,
    split: str = "train",
    directory: str | None = None,
    clients: Collection[Any] | None = None,
) -> ClientRanges:
    """Reads the data of clients from a prepared TFDS data set, by the feature with the owner.

    Examples are read one after the other; only the features that are named are decoded, and only
    the examples of the clients that are asked for stay in memory.

    Args:
        name: TFDS name, such as ``"movielens/100k-ratings"``; it must be prepared with
            ``file_format="array_record"``.
        client: name of the feature of owners, texts or integers.
        x: name of the feature of inputs, numbers of one shape. Images (uint8) become float32 in
            [0, 1].
        y: name of the feature of labels (int32) or targets (float32); None for x alone.
        split: a split of the data set, or a part such as ``"train[:10%]"``.
        directory: TFDS data_dir; None for :func:`jcollab.data.data_dir`.
        clients: owners to read; None for all.

    Raises:
        TypeError: if a feature is not numbers (texts must be encoded: read the set with
            ``tfds.data_source`` and use :func:`jcollab.data.by_owner`), or owners are neither texts
            nor integers.
        ValueError: if the name is unknown, the set has no such feature or split, or there are no
            examples of these clients.
        FileNotFoundError: if the set is not prepared in the directory.

    Example:
        >>> data = jc.data.from_tfds("mnist", "label", "image", "label")  # doctest: +SKIP
        >>> list(data.names)  # doctest: +SKIP
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    import tensorflow_datasets as tfds

    checks.kind(str, name=name, client=client, x=x, split=split)
    builder = prepared(name, directory)
    features = {client, x} | ({y} if y else set())
    if missing := sorted(features - set(builder.info.features)):
        raise ValueError(
            f"features of {name} must be among {sorted(builder.info.features)}, got {missing}"
        )
    try:
        skip = {f: tfds.decode.SkipDecoding() for f in set(builder.info.features) - features}
        source = builder.as_data_source(split, decoders=skip or None)
    except (ValueError, KeyError) as error:
        raise ValueError(f"split must be one of {name}, got {split!r}: {error}") from error
    wanted = None if clients is None else set(clients)
    owners: list[Any] = []
    inputs: list[Any] = []
    targets: list[Any] = []
    for start in range(0, len(source), CHUNK):
        for item in source.__getitems__(range(start, min(start + CHUNK, len(source)))):
            owner = _identity(item[client])
            if wanted is None or owner in wanted:
                owners.append(owner)
                inputs.append(np.asarray(item[x]))
                targets.append(np.asarray(item[y]) if y else 0)
    if not owners:
        raise ValueError(f"clients must have examples in {name} ({split}), got none")
    examples = _numbers(x, inputs, image=True)
    data = Dataset(examples, _numbers(y, targets)) if y else examples
    return by_owner(data, owners)


def _identity(value: Any) -> Any:
    value = value.item() if isinstance(value, (np.ndarray, np.generic)) else value
    return value.decode() if isinstance(value, bytes) else value


def _numbers(name: str, values: list, image: bool = False) -> np.ndarray:
    shapes = {value.shape for value in values}
    if len(shapes) > 1:
        raise ValueError(f"feature {name!r} must have one shape, got {sorted(shapes)[:2]}")
    array = np.stack(values)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"feature {name!r} must be numbers, got {array.dtype}")
    if image and array.dtype == np.uint8:
        return array.astype(np.float32) / 255
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
