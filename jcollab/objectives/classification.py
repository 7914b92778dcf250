"""Cross-entropy over labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

PyTree = Any
Array = jax.Array


def classification(predict: Callable[[PyTree, Array], Array]) -> Callable:
    """Mean cross-entropy: ``-(1/b) sum_j log softmax(predict(params, x_j))[y_j]``.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]``, a flax model's ``apply`` say.

    Returns:
        ``loss(params, batch, key) -> (loss, {"accuracy": ...})``; the batch has fields ``x`` and
        ``y`` (a Dataset does).

    Raises:
        TypeError: if ``predict`` is not callable.
    """
    if not callable(predict):
        raise TypeError(f"predict must be a function, got {type(predict).__name__}")

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        logits = predict(params, batch.x)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()
        return value, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch.y)}

    return loss
