"""Augmentations: random changes of a batch before the model sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax

from jcollab import checks
from jcollab.core import Array, Model


class Augment(Protocol):
    """An augmentation of the batch of ONE client."""

    def __call__(self, batch: Any, model: Model, key: Array) -> Any:
        """The batch with other inputs or labels, of the same shapes."""


def on_inputs(function: Callable[[Array, Array], Array]) -> Augment:
    """An augmentation from a function of the inputs alone, ``function(x, key) -> x``.

    Args:
        function: for example :func:`jcollab.data.crop_and_flip`.

    Raises:
        TypeError: if it is not callable.

    Example:
        >>> from jcollab.data import Dataset
        >>> on_inputs(lambda x, key: 2 * x)(Dataset(1, 0), Model(()), None)
        Dataset(x=2, y=0)
    """
    checks.functions(function=function)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        return batch._replace(x=function(batch.x, key))

    return augment


def in_turn(*augments: Augment) -> Augment:
    """Augmentations one after the other, each with a key of its own.

    Args:
        *augments: augmentations; none leaves batches alone.

    Raises:
        TypeError: if one is not callable.
    """
    for i, augment in enumerate(augments):
        checks.functions(**{f"augments[{i}]": augment})

    def in_order(batch: Any, model: Model, key: Array) -> Any:
        for i, augment in enumerate(augments):
            batch = augment(batch, model, jax.random.fold_in(key, i))
        return batch

    return in_order
