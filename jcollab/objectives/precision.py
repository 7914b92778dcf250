"""Computing in half precision while parameters, optimiser and mixing stay in single precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab.core import lift

PyTree = Any
Array = jax.Array


def computed_in(dtype: Any, loss: Callable) -> Callable:
    """The loss with floating-point parameters and batch cast to ``dtype`` for the computation.

    Gradients come back in the type of the parameters, so that the optimiser and every mixer work
    in that: averaging in bfloat16 would let the mean drift by a per cent of its value.

    Args:
        dtype: ``jnp.bfloat16``, say.
        loss: a loss of ONE client, see :func:`jcollab.core.lift`.

    Returns:
        A loss in its four-argument form; its value is float32.

    Raises:
        TypeError: if dtype is not floating, or loss is none.
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
        return value.astype(jnp.float32), (new, metrics)

    return computed
