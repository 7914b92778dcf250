"""Numbers in, numbers out: which array library works, safe divisions, and checks of values."""

from __future__ import annotations

from collections.abc import Callable
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


def traced(*values: Any) -> bool:
    """Whether a value is being traced, so that it cannot be looked at."""
    return any(isinstance(value, jax.core.Tracer) for value in values)


def check(name: str, value: Any, allowed: str, holds: Callable[[np.ndarray], Any]) -> None:
    """ValueError unless all of a known value is finite and as it must be.

    Args:
        name: of the argument.
        value: a number or an array; one that is being traced passes.
        allowed: what it must be, in words.
        holds: ``holds(array) -> bool array``.
    """
    if traced(value):
        return
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {allowed}, got {value!r}") from None
    if not (np.isfinite(array) & holds(array)).all():
        got = repr(array.item()) if array.ndim == 0 else str(array)
        raise ValueError(f"{name} must be {allowed}, got {got}")


def check_variances(**values: Any) -> None:
    """ValueError unless all are finite and at least 0; an unknown variance (NaN) is refused."""
    for name, value in values.items():
        check(name, value, "a finite variance >= 0", lambda v: v >= 0)


def check_finite(**values: Any) -> None:
    """ValueError unless all are finite."""
    for name, value in values.items():
        check(name, value, "finite", lambda v: v == v)


def check_counts(**values: Any) -> None:
    """ValueError unless all are finite numbers of samples, at least 1."""
    for name, value in values.items():
        check(name, value, "a number of samples >= 1", lambda v: v >= 1)
