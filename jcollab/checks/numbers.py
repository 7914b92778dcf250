"""Checks of numbers: ranges, counts, seeds and names."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_SEED = 2**32 - 1


def traced(*values: Any) -> bool:
    """Returns whether a leaf of the values is being traced.

    Example:
        >>> traced(1.0), jax.jit(lambda x: jnp.array(traced(x)))(1.0).tolist()
        (False, True)
    """
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    finite: bool = False,
    arrays: bool = False,
) -> None:
    """Checks that a number, or every number of an array, is in a range.

    Args:
        name: name of the argument.
        value: a number. NaN is outside of every range.
        at_least: lower bound, inclusive.
        above: lower bound, exclusive.
        at_most: upper bound, inclusive.
        below: upper bound, exclusive.
        finite: whether infinity is outside of a range without a bound.
        arrays: whether arrays of numbers are allowed.

    Raises:
        TypeError: if ``value`` is not a number.
        ValueError: if it is out of range.

    Example:
        >>> number("weight", 2, at_least=0, at_most=1)
        Traceback (most recent call last):
        ValueError: weight must be in [0, 1], got 2
    """
    if not arrays and (shape := getattr(value, "shape", ())):
        raise ValueError(f"{name} must be one number, got an array of shape {tuple(shape)}")
    if traced(value):
        return
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if array.ndim and not arrays:
        raise TypeError(f"{name} must be one number, got {value!r}")
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, bool)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    # comparisons with NaN are False, so NaN fails even without bounds
    low, high = _or(at_least, -np.inf), _or(at_most, np.inf)
    fine = (low <= array) & (array <= high)
    if above is not None:
        fine &= array > above
    if below is not None:
        fine &= array < below
    if finite:
        fine &= np.isfinite(array)
    if not np.all(fine):
        allowed = _range(at_least, above, at_most, below, finite)
        raise ValueError(f"{name} must be {allowed}, got {value}")


def finite(
    *,
    at_least: float | None = None,
    above: float | None = None,
    arrays: bool = False,
    **values: Any,
) -> None:
    """Checks that several arguments, given by name, are finite and not below a bound.

    Example:
        >>> finite(variance=float("nan"), at_least=0)
        Traceback (most recent call last):
        ValueError: variance must be finite and at least 0, got nan
    """
    for name, value in values.items():
        number(name, value, at_least=at_least, above=above, finite=True, arrays=arrays)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _range(
    at_least: float | None,
    above: float | None,
    at_most: float | None,
    below: float | None,
    finite: bool,
) -> str:
    low, high = at_least if above is None else above, at_most if below is None else below
    if low is not None and high is not None:
        return f"in {'[' if above is None else '('}{low:g}, {high:g}{']' if below is None else ')'}"
    if low is not None:
        bound = (
            f"at least {low:g}" if above is None else "positive" if low == 0 else f"above {low:g}"
        )
    elif high is not None:
        bound = f"at most {high:g}" if below is None else f"below {high:g}"
    else:
        return "finite" if finite else "a number"
    return f"finite and {bound}" if finite else bound


def count(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> None:
    """Checks that an integer is in a range.

    Args:
        name: name of the argument.
        value: an integer.
        at_least: lower bound, inclusive.
        at_most: upper bound, inclusive.

    Raises:
        TypeError: if ``value`` is not an integer.
        ValueError: if it is out of range.

    Example:
        >>> count("num_rounds", 0)
        Traceback (most recent call last):
        ValueError: num_rounds must be at least 1, got 0
    """
    if traced(value) and not np.ndim(value):
        return
    # operator.index accepts integers of NumPy and JAX, and rejects 3.0
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool):  # True is an int in Python
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if at_most is not None and not at_least <= whole <= at_most:
        raise ValueError(f"{name} must be in {at_least}..{at_most}, got {value}")
    if whole < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def counts(**values: Any) -> None:
    """Checks that several arguments, given by name, are integers of at least 1, or None.

    Example:
        >>> counts(chunk=None, batch_size=0)
        Traceback (most recent call last):
        ValueError: batch_size must be at least 1, got 0
    """
    for name, value in values.items():
        if value is not None:
            count(name, value)


def seed(name: str, value: Any) -> None:
    """Checks a seed, an integer in 0..2^32 - 1; larger seeds may give equal random keys.

    Example:
        >>> seed("seed", 2**32 + 1)
        Traceback (most recent call last):
        ValueError: seed must be in 0..4294967295, got 4294967297
    """
    count(name, value, 0, LARGEST_SEED)


def one_of(name: str, value: Any, allowed: Collection[Any]) -> None:
    """Raises ValueError unless a value is one of the allowed ones.

    Example:
        >>> one_of("by", "weight", ("clients", "examples"))
        Traceback (most recent call last):
        ValueError: by must be one of clients, examples, got 'weight'
    """
    if value not in allowed:
        shown = ", ".join(map(str, allowed))
        raise ValueError(f"{name} must be one of {shown}, got {value!r}")
