"""Choice of the array library, conversion to floats, and safe division."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Number = Any  # a number or an array of floats


def library(*values: Any) -> Any:
    """Returns ``jax.numpy`` if a value is a jax array, else NumPy, which computes in float64."""
    return jnp if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(values)) else np


def floats(*values: Any) -> tuple[Any, ...]:
    """Returns the array library, followed by the values as its floating-point arrays."""
    xp = library(values)
    # adding 0.0 converts integers to floats and keeps the width of floats
    return xp, *(np.asarray(v, float) if xp is np else jnp.asarray(v) + 0.0 for v in values)


def ratio(numerator: Number, denominator: Number) -> Number:
    """Computes ``numerator / denominator``, and 0 where the denominator is 0.

    Its derivatives are finite, too.
    """
    xp = library(numerator, denominator)
    zero = denominator == 0
    # the inner where avoids 0 / 0, whose derivative is NaN even where it is not selected
    return xp.where(zero, 0.0, numerator / xp.where(zero, 1.0, denominator))
