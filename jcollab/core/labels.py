"""Labels of classes against logits. A label outside of 0..C-1 makes the result NaN.

Where labels are known, such a label is an error. In a compiled run they are not, and what is NaN
cannot go on unnoticed: the loss is NaN, and so is the model after the first step.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks

Array = jax.Array


def cross_entropy(logits: Array, y: Any, name: str = "y") -> Array:
    """``-log softmax(z)_y`` for labels, or ``-sum_c y_c log softmax(z)_c`` for probabilities.

    Args:
        logits: z, ``[..., C]``.
        y: labels, int ``[...]`` in 0..C-1, or probabilities ``[..., C]``.
        name: of ``y`` in errors.

    Returns:
        ``[...]``, NaN where a label is outside of 0..C-1.

    Raises:
        TypeError: if ``y`` is of another type.
        ValueError: if ``y`` has another shape, or, where it is known, a label is out of range.
    """
    if is_integer(y):
        checks.labels(name, y, logits.shape[:-1], logits.shape[-1])
        value = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return jnp.where(_in_range(y, logits.shape[-1]), 1, jnp.nan).astype(value.dtype) * value
    if not jnp.issubdtype(jnp.result_type(y), jnp.floating) or jnp.shape(y) != logits.shape:
        classes = jnp.shape(logits)
        raise (TypeError if jnp.shape(y) == classes[:-1] else ValueError)(
            f"{name} must be labels, int {list(classes[:-1])}, or probabilities, float "
            f"{list(classes)}, got {jnp.result_type(y)} {list(jnp.shape(y))}"
        )
    return optax.softmax_cross_entropy(logits, y)


def one_hot(y: Any, num_classes: int, dtype: Any = float, name: str = "y") -> Array:
    """One-hot vectors ``[b, C]`` of labels, int ``[b]``; NaN for a label outside of 0..C-1.

    Raises:
        TypeError: if labels are no integers.
        ValueError: if they have another shape, or, where they are known, one is out of range.
    """
    checks.labels(name, y, ("b",), num_classes)
    fine = _in_range(y, num_classes)[:, None]
    return jnp.where(fine, jax.nn.one_hot(y, num_classes, dtype=dtype), jnp.nan)


def is_right(logits: Array, labels: Array) -> Array:
    """1 where the largest logit is that of the label, else 0; NaN where a logit is NaN, ``[...]``.

    Args:
        logits: ``[..., C]``.
        labels: int ``[...]``.
    """
    chosen = jnp.argmax(logits, -1)
    right = (chosen == jnp.asarray(labels).astype(chosen.dtype)).astype(logits.dtype)
    return jnp.where(jnp.isnan(logits).any(-1), jnp.nan, right)


def is_integer(y: Any) -> bool:
    """Whether an array is of integers."""
    return jnp.issubdtype(jnp.result_type(y), jnp.integer)


def _in_range(y: Any, num_classes: int) -> Array:
    y = jnp.asarray(y)
    y = y.astype(jnp.promote_types(y.dtype, jnp.int32))  # C may be no uint8
    return (y >= 0) & (y < num_classes)
