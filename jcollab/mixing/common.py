"""Functions that mixers share: wide averages, checks, and the size of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Mixer, Names, PyTree, Round, wide_dtype
from jcollab.core.names import agreed


def payload(x: PyTree) -> int:
    """Bytes of one client's part of ``x``, whose leaves are ``[n, ...]``."""
    return sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(x))


def stateless(mix: Callable[[PyTree, Round], PyTree]) -> Mixer:
    """A mixer without a state from a plain function.

    Its ``bytes_sent`` is NaN, since the function does not declare what it sends.

    Args:
        mix: ``mix(x, context) -> x`` with leaves ``[n, ...]`` and the :class:`jcollab.core.Round`
            as its context.

    Raises:
        TypeError: if ``mix`` is not callable.
        ValueError: when it is used, if ``mix`` returns another structure or other shapes.

    Example:
        >>> half = jc.mixing.stateless(lambda x, context: jax.tree.map(lambda leaf: leaf / 2, x))
    """
    checks.functions(mix=mix)

    def update(x: PyTree, s: PyTree, context: Round) -> tuple[PyTree, PyTree]:
        mixed = mix(x, context)
        checks.same_shapes("the result of mix", mixed, x)
        return mixed, s

    return Mixer(lambda x: (), update, lambda x: np.full(layout.num_clients(x), np.nan))


def no_bytes(x: PyTree) -> np.ndarray:
    """Zero for every client, ``[n]``."""
    return np.zeros(layout.num_clients(x))


def weight_dtype(x: PyTree) -> Any:
    """The type of mixing weights: that of the widest leaf, float32 at least."""
    return wide_dtype(*(leaf.dtype for leaf in jax.tree.leaves(x)))


def where(mask: Array, leaf: Array, other: Any) -> Array:
    """``jnp.where`` for a mask of the leading axes of the leaf."""
    return jnp.where(mask.reshape(*mask.shape, *(1,) * (leaf.ndim - mask.ndim)), leaf, other)


def shared_names(*mixers: Mixer) -> Names | None:
    """Names of the clients that mixers have in common; ValueError if two have different ones."""
    names = None
    for mixer in mixers:
        names = agreed(names, mixer.names, ("one mixer", "another"), "use one topology's names")
    return names


def num_mixed(x: PyTree) -> int:
    """The number n of clients; TypeError or ValueError for what cannot be mixed."""
    checks.floats("params", x)
    return layout.num_clients(x, "params")


def check_given(x: PyTree, n: int, s: Any, kind: type) -> None:
    """:func:`check_n`, and TypeError if the state is that of another mixer."""
    check_n(x, n)
    checks.kind(kind, **{"the mixer's state": s})


def check_n(x: PyTree, n: int, *, averaged: bool = True) -> None:
    """ValueError unless ``x`` is stacked for n clients."""
    got = num_mixed(x) if averaged else layout.num_clients(x, "params")
    if got != n:
        raise ValueError(
            f"params must be stacked for the n={n} clients of the topology, got n={got}"
        )
