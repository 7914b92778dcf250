"""Augmentations: random changes of a batch before the model sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax

from jcollab import checks
from jcollab.core import Array, Model


class Augment(Protocol):
    """An augmentation of the batch of ONE client.

    Example:
        >>> def flip(batch, model, key):
        ...     return batch._replace(x=batch.x[:, ::-1])
        >>> loss = jc.objectives.classification(lambda params, x: params * x, augment=flip)
        >>> batch = jc.data.Dataset(jnp.array([[9.0, 0.0]]), jnp.array([1]))
        >>> loss(jnp.ones(2), batch, jax.random.key(0))[1]["accuracy"].item()
        1.0
    """

    def __call__(self, batch: Any, model: Model, key: Array) -> Any:
        """Returns the batch with changed inputs or labels."""


def on_inputs(function: Callable[[Array, Array], Array]) -> Augment:
    """Builds an augmentation from a function of the inputs, ``function(x, key) -> x``.

    Args:
        function: for example :func:`jcollab.data.crop_and_flip`.

    Raises:
        TypeError: if function is not callable.

    Example:
        >>> double = jc.objectives.on_inputs(lambda x, key: 2 * x)
        >>> double(jc.data.Dataset(x=1, y=0), None, None)
        Dataset(x=2, y=0)
    """
    checks.functions(function=function)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        return batch._replace(x=function(batch.x, key))

    return augment


def in_turn(*augments: Augment) -> Augment:
    """Builds an augmentation that applies several ones in order, each with a different key.

    Args:
        *augments: augmentations; without any, batches are not changed.

    Raises:
        TypeError: if an augmentation is not callable.

    Example:
        >>> double = jc.objectives.on_inputs(lambda x, key: 2 * x)
        >>> shift = jc.objectives.on_inputs(lambda x, key: x + 1)
        >>> augment = jc.objectives.in_turn(double, shift)
        >>> augment(jc.data.Dataset(x=3, y=0), None, jax.random.key(0))
        Dataset(x=7, y=0)
    """
    for i, augment in enumerate(augments):
        checks.functions(**{f"augments[{i}]": augment})

    def in_order(batch: Any, model: Model, key: Array) -> Any:
        for i, augment in enumerate(augments):
            batch = augment(batch, model, jax.random.fold_in(key, i))
        return batch

    return in_order
