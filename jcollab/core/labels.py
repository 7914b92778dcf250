"""Functions of class labels and logits; a label outside of 0..C-1 gives NaN.

A label out of range raises an error if its value is known. Labels that are being traced have no
value yet. There the result is NaN, which cannot pass unnoticed: the loss is NaN, and after the
first step the model is NaN too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks

Array = jax.Array


def cross_entropy(logits: Array, y: Any, name: str = "y") -> Array:
    """Computes the cross-entropy of logits and labels, or of logits and probabilities.

        -log softmax(z)_y    or    -sum_c y_c log softmax(z)_c

    Args:
        logits: z, ``[..., C]``.
        y: labels, int ``[...]`` in 0..C-1, or probabilities ``[..., C]``.
        name: name of ``y`` in error messages.

    Returns:
        The losses ``[...]``, NaN where a label is outside of 0..C-1.

    Raises:
        TypeError: if ``y`` has the shape of labels, but does not contain integers.
        ValueError: if ``y`` has another shape, or a label with a known value is out of range.

    Example:
        >>> losses = cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))
        >>> losses.shape, round(float(losses[0]), 3)  # log 4
        ((2,), 1.386)
    """
    if is_integer(y):
        checks.labels(name, y, logits.shape[:-1], logits.shape[-1])
        value = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        # a factor, not a where over the value: the gradient must be NaN too, else a run would go
        # on as if the example were missing
        return jnp.where(_in_range(y, logits.shape[-1]), 1, jnp.nan).astype(value.dtype) * value
    if not jnp.issubdtype(jnp.result_type(y), jnp.floating) or jnp.shape(y) != logits.shape:
        classes = jnp.shape(logits)
        raise (TypeError if jnp.shape(y) == classes[:-1] else ValueError)(
            f"{name} must be labels, int {list(classes[:-1])}, or probabilities, float "
            f"{list(classes)}, got {jnp.result_type(y)} {list(jnp.shape(y))}"
        )
    return optax.softmax_cross_entropy(logits, y)


def one_hot(y: Any, num_classes: int, dtype: Any = float, name: str = "y") -> Array:
    """Returns one-hot vectors ``[b, C]`` of labels, int ``[b]``.

    The vector of a label outside of 0..C-1 is NaN.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if they have another shape, or a label with a known value is out of range.

    Example:
        >>> one_hot(jnp.array([2, 0]), 3).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    checks.labels(name, y, ("b",), num_classes)
    fine = _in_range(y, num_classes)[:, None]
    return jnp.where(fine, jax.nn.one_hot(y, num_classes, dtype=dtype), jnp.nan)


def is_right(logits: Array, labels: Array) -> Array:
    """Returns 1 where the label has the largest logit, else 0; NaN where a logit is NaN.

    Args:
        logits: ``[..., C]``.
        labels: int ``[...]``.

    Returns:
        float ``[...]``. The mean of all values is the accuracy.

    Example:
        >>> is_right(jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.array([1, 1])).tolist()
        [1.0, 0.0]
    """
    chosen = jnp.argmax(logits, -1)
    # one integer type for both: mixed types raise where a user sets strict type promotion
    right = (chosen == jnp.asarray(labels).astype(chosen.dtype)).astype(logits.dtype)
    return jnp.where(jnp.isnan(logits).any(-1), jnp.nan, right)


def is_integer(y: Any) -> bool:
    """Returns whether an array contains integers."""
    return jnp.issubdtype(jnp.result_type(y), jnp.integer)


def _in_range(y: Any, num_classes: int) -> Array:
    y = jnp.asarray(y)
    y = y.astype(jnp.promote_types(y.dtype, jnp.int32))  # C may exceed a uint8
    return (y >= 0) & (y < num_classes)
