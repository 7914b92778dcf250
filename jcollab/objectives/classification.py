"""Cross-entropy over labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab.core import lift_predict, offer
from jcollab.objectives.augmentation import as_augment

PyTree = Any
Array = jax.Array


def classification(
    predict: Callable[..., Array],
    *,
    augment: Callable | None = None,
    train: Callable | None = None,
) -> Callable:
    """Mean cross-entropy: ``-(1/b) sum_j log softmax(predict(params, x_j))[y_j]``.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]``, a flax model's ``apply`` say; or
            ``predict(params, model_state, x)`` of a model that carries something along, its batch
            statistics.
        augment: ``augment(x [b, ...], key) -> x`` that changes the inputs at random before the
            model sees them, :func:`jcollab.data.crop_and_flip` say, or
            ``augment(batch, params, key) -> batch`` that may also look at labels and at the model
            as it is (and at ``model_state``, if it names that), :mod:`jcollab.flows.perturb` say.
            No gradient flows through it. None leaves batches alone.
        train: ``train(params, x, key) -> logits`` that takes the place of ``predict`` in the loss
            where the model behaves at random in training. With dropout in flax:
            ``lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})``.
            With something carried along, ``train(params, model_state, x, key) -> (logits,
            model_state)``, and only here it changes.

    Returns:
        ``loss(params, batch, key) -> (loss, {"accuracy": ...})``, or where something is carried
        along ``loss(params, model_state, batch, key) -> (loss, (model_state, {"accuracy": ...}))``;
        the batch has fields ``x`` and ``y`` (a Dataset does), labels int ``[b]`` or probabilities
        ``[b, C]``. The accuracy is that of the logits in the loss. ``augment`` and ``train`` each
        get a key of their own, so that one does not change what the other draws; without them the
        key is not used.

    Raises:
        TypeError: if ``predict``, ``augment`` or ``train`` is given and not callable, or takes
            other arguments.
    """
    full_predict = lift_predict(predict)
    carries = full_predict is predict
    hook = None if augment is None else as_augment(augment)
    if train is not None and not callable(train):
        raise TypeError(f"train must be a function or None, got {type(train).__name__}")

    def full(params: PyTree, model_state: PyTree, batch: Any, key: Array) -> tuple:
        if hook is not None or train is not None:
            augment_key, train_key = jax.random.split(key)
        if hook is not None:
            seen = jax.lax.stop_gradient((params, model_state))
            batch = jax.lax.stop_gradient(
                offer(hook, batch, seen[0], augment_key, model_state=seen[1])
            )
        if train is None:
            logits = full_predict(params, model_state, batch.x)
        elif carries:
            logits, model_state = train(params, model_state, batch.x, train_key)
        else:
            logits = train(params, batch.x, train_key)
        y, labels = batch.y, batch.y
        if jnp.issubdtype(jnp.result_type(y), jnp.integer):
            value = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        else:
            value, labels = optax.softmax_cross_entropy(logits, y), jnp.argmax(y, -1)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == labels)
        return value.mean(), (model_state, {"accuracy": accuracy})

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        value, (_, metrics) = full(params, (), batch, key)
        return value, metrics

    return full if carries else loss
