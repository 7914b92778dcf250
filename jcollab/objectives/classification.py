"""Cross-entropy over labeled examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import (
    Loss,
    Model,
    Predict,
    Stateful,
    Train,
    cross_entropy,
    is_integer,
    is_right,
    lift_train,
    stateful,
)
from jcollab.objectives.augmentation import Augment

PyTree = Any
Array = jax.Array


def classification(
    predict: Predict,
    *,
    augment: Augment | None = None,
    train: Train | None = None,
) -> Loss:
    """Mean cross-entropy: ``-(1/b) sum_j log softmax(predict(params, x_j))[y_j]``.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]``, for example the ``apply`` of a
            flax model; of a model with state (batch statistics),
            ``stateful(predict)`` of ``predict(params, model_state, x)``.
        augment: ``augment(batch, model, key) -> batch`` changes the batch at random before the
            model sees it, and may look at labels and at the model (:class:`jcollab.core.Model`):
            ``on_inputs(jcollab.data.crop_and_flip)`` or one of :mod:`jcollab.flows.perturb`. No
            gradient flows through it. None leaves batches alone.
        train: ``train(params, x, key) -> logits`` takes the place of ``predict`` in the loss where
            the model behaves at random in training. With dropout in flax:
            ``lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})``.
            Of a model with state, ``stateful(train)`` of ``train(params, model_state, x, key) ->
            (logits, model_state)``, and only here the state changes.

    Returns:
        ``loss(params, batch, key) -> (loss, {"accuracy": ...})``, or where ``predict`` or ``train``
        is stateful the stateful form of it; the batch has fields ``x`` and ``y`` (a Dataset does),
        labels int ``[b]`` in 0..C-1 or probabilities ``[b, C]``. A label out of range makes the
        loss NaN, and the model after the step. The accuracy is that of the logits in the loss.
        ``augment`` and ``train`` each get a key of their own, so that one does not change what the
        other draws; without them the key is not used.

    Raises:
        TypeError: if ``predict``, ``augment`` or ``train`` is given and not callable; when it is
            used, if labels are of another type.
        ValueError: when it is used, if labels have another shape.
    """
    given = {"augment": augment, "train": train}
    checks.functions(predict=predict, **{k: fn for k, fn in given.items() if fn is not None})
    run = lift_train(predict, train)

    def full(params: PyTree, model_state: PyTree, batch: Any, key: Array) -> tuple:
        train_key = key
        if augment is not None or train is not None:
            augment_key, train_key = jax.random.split(key)
        if augment is not None:
            seen = jax.lax.stop_gradient(Model(params, model_state))
            batch = jax.lax.stop_gradient(augment(batch, seen, augment_key))
        logits, model_state = run(params, model_state, batch.x, train_key)
        value = cross_entropy(logits, batch.y)
        labels = batch.y if is_integer(batch.y) else jnp.argmax(batch.y, -1)
        return value.mean(), model_state, {"accuracy": is_right(logits, labels).mean()}

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        value, _, metrics = full(params, (), batch, key)
        return value, metrics

    return stateful(full) if any(isinstance(fn, Stateful) for fn in (predict, train)) else loss
