"""Classification tasks that several papers are compared on."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.model_selection import train_test_split

import jcollab as jc

VALIDATION_FRACTION = 0.2
Dataset = jc.data.Dataset


@dataclasses.dataclass(frozen=True)
class Task:
    """Data and model of a comparison.

    Attributes:
        train: what is dealt to the clients.
        validation: for choosing learning rates.
        test: for the results.
        model: flax module.
        seen: how many validation and test examples the curves are drawn from.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    model: Any
    seen: int


def make_task(dataset: str, hidden: int, seen: int, examples: int | None = None) -> Task:
    """Loads a data set, holds out a fifth of its training set, and takes an MLP for it."""
    known = jc.data.load(dataset, "train")
    if examples is not None:
        known = Dataset(known.x[:examples], known.y[:examples])
    fit, held = train_test_split(
        np.arange(len(known.y)), test_size=VALIDATION_FRACTION, random_state=0, stratify=known.y
    )
    train, validation = (Dataset(known.x[i], known.y[i]) for i in (fit, held))
    model = jc.models.MLP(num_classes=int(known.y.max()) + 1, hidden=(hidden,))
    return Task(train, validation, jc.data.load(dataset, "test"), model, seen)


def average_squares(x: np.ndarray, factor: int) -> np.ndarray:
    """Images ``[N, height, width, ...]`` averaged over squares of ``factor`` pixels.

    Rows and columns that fill no square are cut off.
    """
    height, width = (size // factor for size in x.shape[1:3])
    cut = x[:, : height * factor, : width * factor]
    return cut.reshape(len(x), height, factor, width, factor, -1).mean((2, 4))


def stack_clients(parts: list[Any], examples: Dataset, times: int) -> jc.data.ClientData:
    """One partition for each seed over shared examples, repeated for each setting.

    Returns:
        Leaves ``indices`` and ``mask`` are ``[times * seeds, n, w]``.
    """
    each = [jc.data.client_data(examples, part) for part in parts]
    return jc.data.ClientData(
        each[0].examples,
        jnp.stack([d.indices for d in each] * times),
        jnp.stack([d.mask for d in each] * times),
    )
