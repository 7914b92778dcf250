"""Cross-entropy over labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

PyTree = Any
Array = jax.Array


def classification(
    predict: Callable[[PyTree, Array], Array],
    *,
    augment: Callable[[Array, Array], Array] | None = None,
    train: Callable[[PyTree, Array, Array], Array] | None = None,
) -> Callable:
    """Mean cross-entropy: ``-(1/b) sum_j log softmax(predict(params, x_j))[y_j]``.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]``, a flax model's ``apply`` say.
        augment: ``augment(x [b, ...], key) -> x`` that changes the inputs at random before the
            model sees them, :func:`jcollab.data.crop_and_flip` say; None leaves them alone.
        train: ``train(params, x, key) -> logits`` that takes the place of ``predict`` in the loss
            where the model behaves at random in training. With dropout in flax:
            ``lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})``.

    Returns:
        ``loss(params, batch, key) -> (loss, {"accuracy": ...})``; the batch has fields ``x`` and
        ``y`` (a Dataset does). The accuracy is that of the logits in the loss. ``augment`` and
        ``train`` each get a key of their own, so that one does not change what the other draws;
        without them the key is not used.

    Raises:
        TypeError: if ``predict``, ``augment`` or ``train`` is given and not callable.
    """
    if not callable(predict):
        raise TypeError(f"predict must be a function, got {type(predict).__name__}")
    for name, function in (("augment", augment), ("train", train)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function or None, got {type(function).__name__}")

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        x = batch.x
        if augment is not None or train is not None:
            augment_key, train_key = jax.random.split(key)
        if augment is not None:
            x = augment(x, augment_key)
        logits = predict(params, x) if train is None else train(params, x, train_key)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()
        return value, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch.y)}

    return loss
