"""Computing in half precision while parameters, optimizer and mixing stay in single precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab.core import Loss, Metrics, Stateful, lift, stateful

PyTree = Any
Array = jax.Array


def computed_in(dtype: Any, loss: Loss) -> Loss:
    """The loss with floating-point parameters and batch cast to ``dtype`` for the computation.

    Gradients come back in the type of the parameters, so that the optimizer and every mixer work
    in that: averaging in bfloat16 would let the mean drift by a per cent of its value.

    Args:
        dtype: for example ``jnp.bfloat16``.
        loss: a loss of ONE client, with a model state or without, see
            :func:`jcollab.core.stateful`.

    Returns:
        A loss of the same form; its value is float32. A model state is not cast.

    Raises:
        TypeError: if dtype is not floating, or loss is not callable.
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
        value, (new, metrics) = full(cast(params), model_state, cast(batch), key)
        return value.astype(jnp.float32), new, metrics

    def without_state(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, Metrics]:
        value, _, metrics = computed(params, (), batch, key)
        return value, metrics

    return stateful(computed) if isinstance(loss, Stateful) else without_state
