"""Functions of states: models, averages, copies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core.selection import merge
from jcollab.core.types import Array, Init, PyTree, State


def params_of(state: State) -> PyTree:
    """Returns the models of a state, stacked ``[n, ...]``, or ``[1, ...]`` for a server's model.

    If clients share only a part of the model, there are n models.

    Example:
        >>> algorithm = jc.federated(lambda p, b, k: jnp.sum(p**2), optax.sgd(0.1))
        >>> state = algorithm.init(jc.replicate(jnp.zeros(3), 4))
        >>> jc.params_of(state).shape
        (1, 3)
    """
    if hasattr(state.clients, "params"):
        return state.clients.params
    personal = getattr(state.clients, "personal", ())
    if not (own := jax.tree.leaves(personal)):
        return jax.tree.map(lambda leaf: leaf[None], state.shared.params)
    return merge(replicate(state.shared.params, len(own[0])), personal)


def model_state_of(state: State) -> PyTree:
    """Returns the model states that belong to :func:`params_of`, ``[n, ...]`` or ``[1, ...]``.

    If clients keep their model state while a server has the parameters, there are n states for one
    set of parameters. The model of client i is the server's parameters with the client's state.

    Example:
        >>> algorithm = jc.centralized(lambda p, b, k: jnp.sum(p**2), optax.sgd(0.1))
        >>> jc.core.model_state_of(algorithm.init(jnp.zeros((2, 3))))  # no model state
        ()
    """
    shared = getattr(state.shared, "model_state", ())
    if hasattr(state.clients, "params") or not jax.tree.leaves(shared):
        return getattr(state.clients, "model_state", ())
    return jax.tree.map(lambda leaf: leaf[None], shared)


def widen(leaf: Array) -> Array:
    """Casts a leaf to the dtype of its averages, float32 or wider.

    Example:
        >>> widen(jnp.ones(2, jnp.bfloat16)).dtype
        dtype('float32')
    """
    return leaf.astype(wide_dtype(leaf))


def wide_dtype(*leaves: Any) -> Any:
    """Returns the dtype in which arrays are averaged: the widest among them, at least float32.

    Raises:
        TypeError: if an array is complex.

    Example:
        >>> wide_dtype(jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16))
        dtype('float32')
    """
    # Sums in bfloat16 lose a small term next to a large one: with 8 bits of precision, a sum of
    # ones stops growing at 256. "standard" because a user may have set strict promotion.
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(jnp.float32, *leaves)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"values must be real to be averaged, got {dtype}")
    return dtype


def weighed(weight: Array, tree: PyTree) -> PyTree:
    """Computes ``weight * x``, each leaf in the dtype of its averages.

    Example:
        >>> weighed(jnp.float32(0.5), jnp.array([2.0, 4.0])).tolist()
        [1.0, 2.0]
    """
    return jax.tree.map(lambda leaf: weight.astype(wide_dtype(leaf)) * widen(leaf), tree)


def own_arrays(init: Init) -> Init:
    """Wraps ``init`` so that params are checked, and every leaf of the state is a fresh copy.

    No leaf of the state shares its memory with another leaf, with an argument, or with an array
    that the algorithm was built from. A run may then reuse the memory (``run(..., donate=True)``).

    Args:
        init: ``init(params, model_state=()) -> State``.

    Raises:
        TypeError: when ``init`` is called, if a leaf of params is not real and floating point.

    Example:
        >>> init = own_arrays(lambda params, model_state=(): State(params, params, jnp.int32(0)))
        >>> state = init(jnp.zeros(2))
        >>> state.clients is state.shared
        False
    """

    def checked(params: PyTree, model_state: PyTree = ()) -> State:
        checks.floats("params", params, "keep what is not trained in model_state")
        leaves, structure = jax.tree.flatten(init(params, model_state))
        # XLA refuses to donate one buffer twice, and a donated buffer is invalid for all other
        # references to it. Leaves are copied one at a time, each freeing the one before: the peak
        # is the state and one more leaf, not two states. ``device_put`` needs no program, while
        # ``jnp.copy`` compiles one for each shape; arrays of several processes need it.
        several = jax.process_count() > 1
        for i, leaf in enumerate(leaves):
            leaves[i] = jnp.copy(leaf) if several else jax.device_put(leaf, may_alias=False)
        return jax.tree.unflatten(structure, leaves)

    return checked


def replicate(tree: PyTree, n: int) -> PyTree:
    """Repeats one value for every client: ``x_i = x`` for i = 0..n-1.

    Args:
        tree: pytree of arrays, ``[...]``.
        n: number of clients, at least 1.

    Returns:
        The pytree with leaves ``[n, ...]``.

    Raises:
        ValueError: if n < 1.

    Example:
        >>> jc.replicate({"w": jnp.zeros(3)}, 4)["w"].shape
        (4, 3)
    """
    checks.count("n", n)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), tree)
