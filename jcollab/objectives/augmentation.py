"""One form for all augmentations: what changes images, and what changes batches by the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jcollab.core import offer, required_arguments

PyTree = Any
Array = jax.Array
Augment = Callable[..., Any]


def as_augment(augment: Callable) -> Augment:
    """The form ``augment(batch, params, key) -> batch`` of an augmentation.

    Args:
        augment: a function of three arguments, returned as it is, or ``augment(x, key) -> x`` of
            images alone, :func:`jcollab.data.crop_and_flip` say.

    Returns:
        A function of three arguments; one that also names ``model_state`` as a keyword gets what
        the model carries along (batch statistics).

    Raises:
        TypeError: if it is no function of two or three arguments.

    Example:
        >>> from jcollab.data import Dataset
        >>> as_augment(lambda x, key: 2 * x)(Dataset(1, 0), None, None)
        Dataset(x=2, y=0)
    """
    if not callable(augment):
        raise TypeError(f"augment must be a function or None, got {type(augment).__name__}")
    positional = required_arguments(augment)
    if len(positional) == 3:
        return augment
    if len(positional) != 2:
        raise TypeError(
            f"augment must take (x, key) or (batch, params, key), got ({', '.join(positional)})"
        )

    def of_images(batch: Any, params: PyTree, key: Array) -> Any:
        return batch._replace(x=augment(batch.x, key))

    return of_images


def in_turn(*augments: Callable) -> Augment:
    """Augmentations one after the other, each with a key of its own.

    Args:
        *augments: in either form of :func:`as_augment`; none leaves batches alone.

    Returns:
        ``augment(batch, params, key, *, model_state=()) -> batch``.

    Raises:
        TypeError: as for :func:`as_augment`.
    """
    hooks = [as_augment(augment) for augment in augments]

    def augment(batch: Any, params: PyTree, key: Array, *, model_state: PyTree = ()) -> Any:
        for i, hook in enumerate(hooks):
            batch = offer(hook, batch, params, jax.random.fold_in(key, i), model_state=model_state)
        return batch

    return augment
