"""Numbers in, numbers out: which array library works, and safe divisions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Number = Any  # a number or an array of floats


def library(*values: Any) -> Any:
    """NumPy, which keeps float64, unless a jax array is among the values."""
    return jnp if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(values)) else np


def floats(*values: Any) -> tuple[Any, ...]:
    """The array library, and the values as its floating-point arrays."""
    xp = library(values)
    # adding 0. makes floats of integers and leaves the width of floats alone
    return xp, *(np.asarray(v, float) if xp is np else jnp.asarray(v) + 0.0 for v in values)


def ratio(numerator: Number, denominator: Number) -> Number:
    """``numerator / denominator``, and 0 where the denominator is 0; safe to differentiate."""
    xp = library(numerator, denominator)
    zero = denominator == 0
    return xp.where(zero, 0.0, numerator / xp.where(zero, 1.0, denominator))
