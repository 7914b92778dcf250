"""What mixers share: wide averages, checks, and the size of messages."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import layout
from jcollab.core import Array, PyTree


def payload(x: PyTree) -> int:
    """Bytes of one client's share of ``x``, whose leaves are ``[n, ...]``."""
    return sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(x))


def no_bytes(x: PyTree) -> np.ndarray:
    """Zero for every client, ``[n]``."""
    return np.zeros(layout.num_clients(x))


def widen(leaf: Array) -> Array:
    """The leaf in float32 or wider, in which averages are taken."""
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def weight_dtype(x: PyTree) -> Any:
    """The type of mixing weights: that of the widest leaf, float32 at least."""
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(x)))


def where(mask: Array, leaf: Array, other: Any) -> Array:
    """``jnp.where`` for a mask of the leading axes of the leaf."""
    return jnp.where(mask.reshape(*mask.shape, *(1,) * (leaf.ndim - mask.ndim)), leaf, other)


def check_n(x: PyTree, n: int) -> None:
    """ValueError unless ``x`` is stacked for the n clients of the topology."""
    got = layout.num_clients(x, "params")
    if got != n:
        raise ValueError(f"topology has n={n} clients, but params are stacked for n={got}")
