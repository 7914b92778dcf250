"""Computation in half precision, with parameters, optimizer and mixing in single precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab.core import Loss, Metrics, Stateful, lift, stateful

PyTree = Any
Array = jax.Array


def computed_in(dtype: Any, loss: Loss) -> Loss:
    """Builds a loss that casts floating-point parameters and batch to ``dtype`` before it computes.

    Gradients have the dtype of the parameters, and so optimizer and mixers compute in that dtype.
    Averages in bfloat16 would drift by about one percent of their value.

    Args:
        dtype: for example ``jnp.bfloat16``.
        loss: a loss of ONE client, with or without a model state (:func:`jcollab.core.stateful`).

    Returns:
        A loss of the same form; its value is float32. A model state is not cast.

    Raises:
        TypeError: if dtype is not a floating-point type, or loss is not callable.

    Example:
        >>> loss = jc.objectives.computed_in(jnp.bfloat16, lambda params, batch, key: params.sum())
        >>> value, gradient = jax.value_and_grad(lambda p: loss(p, (), None)[0])(jnp.ones(3))
        >>> value.item(), gradient.dtype.name
        (3.0, 'float32')
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be a floating-point type, got {dtype}")
    full = lift(loss)

    def cast(tree: PyTree) -> PyTree:
        def one(leaf: Array) -> Array:
            floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            return jnp.asarray(leaf, dtype) if floating else leaf

        return jax.tree.map(one, tree)

    def computed(params: PyTree, model_state: PyTree, batch: PyTree, key: Array) -> tuple:
        # The cast is inside of the loss: its transpose casts the gradients back. Running averages
        # of a model state change by small amounts that half precision would round away.
        value, (new, metrics) = full(cast(params), model_state, cast(batch), key)
        return value.astype(jnp.float32), new, metrics

    def without_state(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, Metrics]:
        value, _, metrics = computed(params, (), batch, key)
        return value, metrics

    return stateful(computed) if isinstance(loss, Stateful) else without_state
