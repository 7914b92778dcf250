"""Cross-entropy of labeled examples."""

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
    """Builds the mean cross-entropy ``-(1/b) sum_j log softmax(predict(params, x_j))[y_j]``.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]``, for example ``model.apply`` of a
            flax model. For a model with state (batch statistics), ``jcollab.stateful(predict)`` of
            ``predict(params, model_state, x)``.
        augment: ``augment(batch, model, key) -> batch`` changes the batch at random before it is
            passed to the model, for example ``on_inputs(jcollab.data.crop_and_flip)`` or an
            augmentation of :mod:`jcollab.flows.perturb`. It may use the labels and the model
            (:class:`jcollab.core.Model`). No gradient flows through it. None for no augmentation.
        train: ``train(params, x, key) -> logits`` replaces ``predict`` in the loss, for models that
            are random in training. With dropout in flax:
            ``lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})``.
            For a model with state, ``jcollab.stateful(train)`` of ``train(params, model_state, x,
            key) -> (logits, model_state)``; without it, the state does not change.

    Returns:
        ``loss(params, batch, key) -> (loss, {"accuracy": ...})``, in the stateful form if
        ``predict`` or ``train`` is stateful. The batch has fields ``x`` and ``y``, for example a
        :class:`jcollab.data.Dataset`, with labels int ``[b]`` in 0..C-1 or probabilities
        ``[b, C]``. A label out of range makes the loss NaN. The accuracy is computed from the
        logits in the loss. ``augment`` and ``train`` get different keys, so that one does not
        change what the other draws; without them the key is not used.

    Raises:
        TypeError: if ``predict``, ``augment`` or ``train`` is given and not callable; when the loss
            is called, if labels have another type.
        ValueError: when the loss is called, if labels have another shape.

    Example:
        >>> loss = jc.objectives.classification(lambda params, x: x @ params)
        >>> batch = jc.data.Dataset(x=jnp.eye(2), y=jnp.array([0, 1]))
        >>> value, metrics = loss(jnp.zeros((2, 2)), batch, jax.random.key(0))
        >>> round(float(value), 4), metrics["accuracy"].item()  # log 2
        (0.6931, 0.5)
    """
    given = {"augment": augment, "train": train}
    checks.functions(predict=predict, **{k: fn for k, fn in given.items() if fn is not None})
    run = lift_train(predict, train)

    def full(params: PyTree, model_state: PyTree, batch: Any, key: Array) -> tuple:
        # Without an augmentation or ``train`` nothing is drawn, and a key need not be split.
        train_key = key
        if augment is not None or train is not None:
            augment_key, train_key = jax.random.split(key)
        if augment is not None:
            # Perturbations by a flow or against the model depend on the params. The augmented batch
            # is data all the same, and the gradient must treat it as a constant.
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
