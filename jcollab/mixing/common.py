"""Functions that mixers share: constructors, checks, dtypes and message sizes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Mixer, Names, PyTree, Round, wide_dtype
from jcollab.core.names import agreed

UNROLLED_UP_TO = 64  # the time to compile an unrolled sum grows with the number of neighbors


def payload(x: PyTree) -> int:
    """Computes the size in bytes of one client's part of ``x``, which has leaves ``[n, ...]``.

    Example:
        >>> jc.mixing.payload({"w": jnp.zeros((8, 3)), "b": jnp.zeros(8)})  # (3 + 1) float32 values
        16
    """
    return sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(x))


def stateless(mix: Callable[[PyTree, Round], PyTree]) -> Mixer:
    """Builds a mixer without state from a plain function.

    ``bytes_sent`` of the mixer is NaN, since the function does not declare what it sends.

    Args:
        mix: ``mix(x, context) -> x`` with leaves ``[n, ...]`` and a :class:`jcollab.core.Round` as
            its context.

    Raises:
        TypeError: if ``mix`` is not callable.
        ValueError: in ``update``, if ``mix`` returns another structure or other shapes.

    Example:
        >>> mixer = jc.mixing.stateless(lambda x, context: jnp.roll(x, 1))
        >>> x, context = jnp.array([0.0, 3.0, 6.0]), jc.core.Round(jax.random.key(0), 0)
        >>> mixer.update(x, mixer.init(x), context)[0].tolist()
        [6.0, 0.0, 3.0]
    """
    checks.functions(mix=mix)

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        mixed = mix(x, context)
        checks.same_shapes("the result of mix", mixed, x)
        return mixed, s

    return Mixer(lambda x: (), update, lambda x: np.full(layout.num_clients(x), np.nan))


def no_bytes(x: PyTree) -> np.ndarray:
    """Returns zero bytes for every client, ``[n]``."""
    return np.zeros(layout.num_clients(x))


def weight_dtype(x: PyTree) -> Any:
    """Returns the dtype of mixing weights: the widest dtype of the leaves, at least float32."""
    return wide_dtype(*(leaf.dtype for leaf in jax.tree.leaves(x)))


def where(mask: Array, leaf: Array, other: Any) -> Array:
    """Computes ``jnp.where`` with a mask over the leading axes of the leaf."""
    return jnp.where(mask.reshape(*mask.shape, *(1,) * (leaf.ndim - mask.ndim)), leaf, other)


def shared_names(*mixers: Mixer) -> Names | None:
    """Returns the client names that mixers share; ValueError if two mixers have different names."""
    names = None
    for mixer in mixers:
        names = agreed(names, mixer.names, ("one mixer", "another"), "use one topology's names")
    return names


def num_mixed(x: PyTree) -> int:
    """Returns the number n of clients; TypeError or ValueError if ``x`` cannot be averaged."""
    checks.floats("params", x)
    return layout.num_clients(x, "params")


def check_given(x: PyTree, n: int, s: Any, kind: type) -> None:
    """Checks ``x`` as :func:`check_n`; TypeError if the state belongs to another mixer."""
    check_n(x, n)
    checks.kind(kind, **{"the mixer's state": s})


def check_n(x: PyTree, n: int, *, averaged: bool = True) -> None:
    """Raises ValueError unless ``x`` is stacked for n clients."""
    got = num_mixed(x) if averaged else layout.num_clients(x, "params")
    if got != n:
        raise ValueError(
            f"params must be stacked for the n={n} clients of the topology, got n={got}"
        )


def neighbor_sum(pool: Array, neighbors: Array, weights: Array, start: Array) -> Array:
    """Computes ``start_i + sum_k w_ik x_{j(i, k)}`` over the neighbors of clients, ``[m, ...]``.

    Args:
        pool: rows of clients, ``[p, ...]``.
        neighbors: int ``[m, K]``, rows of the pool.
        weights: ``[m, K]``.
        start: ``[m, ...]``, of the dtype of the pool and the result.
    """
    weights = weights.astype(pool.dtype).reshape(*weights.shape, *(1,) * (pool.ndim - 1))

    def add(k: Any, total: Array) -> Array:
        return total + weights[:, k] * pool[neighbors[:, k]]

    # One slot at a time: the gathers fuse into a single pass over memory.
    slots = neighbors.shape[1]
    if slots > UNROLLED_UP_TO:
        return jax.lax.fori_loop(0, slots, add, start)
    return functools.reduce(lambda total, k: add(k, total), range(slots), start)


def slot_sum(inbox: Array, start: Array) -> Array:
    """Computes ``start_i + sum_k m_ik`` of messages ``[n, K, ...]``, ``[n, ...]``."""
    # A reduction over an axis in the middle is slower on a CPU than additions of its slices.
    slots = inbox.shape[1]
    if slots > UNROLLED_UP_TO:
        return start + inbox.sum(1, dtype=inbox.dtype)
    return functools.reduce(jnp.add, (inbox[:, k] for k in range(slots)), start)
