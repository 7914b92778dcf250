"""Checks of arguments. Each raises an error of one form, ``NAME must be ..., got ...``.

Values that are being traced have no number yet and pass: what is known when a function is called
is checked, and nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_SEED = 2**32 - 1


def traced(*values: Any) -> bool:
    """Whether one of the values, or of their leaves, is being traced."""
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
) -> None:
    """ValueError unless a number, or every number of an array, lies in a range.

    Args:
        name: of the argument.
        value: number or array; NaN lies in no range.
        at_least: lower bound, included.
        above: lower bound, excluded.
        at_most: upper bound, included.
        below: upper bound, excluded.
        finite: whether infinity is outside of a range without a bound.

    Raises:
        TypeError: if it is no number.

    Example:
        >>> number("weight", 2, at_least=0, at_most=1)
        Traceback (most recent call last):
        ValueError: weight must be in [0, 1], got 2
    """
    if traced(value):
        return
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, bool)):
        raise TypeError(f"{name} must be a number, got {value!r}")
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


def finite(*, at_least: float | None = None, above: float | None = None, **values: Any) -> None:
    """:func:`number` of several arguments, by name: each finite, and not below a bound.

    Example:
        >>> finite(variance=float("nan"), at_least=0)
        Traceback (most recent call last):
        ValueError: variance must be finite and at least 0, got nan
    """
    for name, value in values.items():
        number(name, value, at_least=at_least, above=above, finite=True)


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
    """ValueError unless an integer lies in a range.

    Raises:
        TypeError: if it is no integer.

    Example:
        >>> count("num_rounds", 0)
        Traceback (most recent call last):
        ValueError: num_rounds must be at least 1, got 0
    """
    if traced(value):
        return
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if at_most is not None and not at_least <= whole <= at_most:
        raise ValueError(f"{name} must be in {at_least}..{at_most}, got {value}")
    if whole < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def counts(**values: Any) -> None:
    """:func:`count` of several arguments, by name: each at least 1, or None where not given."""
    for name, value in values.items():
        if value is not None:
            count(name, value)


def integers(
    name: str,
    values: Any,
    shape: tuple[int | str, ...] | None = None,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
) -> None:
    """TypeError unless an array is of integers; ValueError unless its shape and range fit.

    Type and shape are checked also where the array is traced.

    Args:
        name: of the argument.
        values: array, or nested lists of numbers.
        shape: lengths of its axes, with a name (``"n=4"``) or without (``4``), or their names
            where any length will do (``"N"``); None for any shape.
        at_least: lower bound, included.
        at_most: upper bound, included.

    Example:
        >>> integers("y", [[0], [2], [1]], ("N",))
        Traceback (most recent call last):
        ValueError: y must have shape [N], got [3, 1]; use y[:, 0]
        >>> integers("y", [0.5, 1.0])
        Traceback (most recent call last):
        TypeError: y must be integers, got float...
    """
    array = values if hasattr(values, "dtype") else np.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.integer) and array.size:
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    got = array.shape
    if shape is not None and not _fits(got, shape):
        column = got[-1:] == (1,) and _fits(got[:-1], shape)
        fix = f"; use {name}[{':, ' * len(shape)}0]" if column else ""
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape [{wanted}], got {list(got)}{fix}")
    if traced(array) or not array.size:
        return
    array = np.asarray(array)  # inside of jit, operations of jax would trace what is known
    low, high = int(array.min()), int(array.max())
    if not (at_least is None or at_least <= low) or not (at_most is None or high <= at_most):
        allowed = f"at least {at_least}" if at_most is None else f"in {at_least}..{at_most}"
        shown = low if at_most is None or low == high else f"{low}..{high}"
        raise ValueError(f"{name} must be {allowed}, got {shown}")


def _fits(got: tuple[int, ...], shape: tuple[int | str, ...]) -> bool:
    def fits(wanted: int | str, length: int) -> bool:
        known = str(wanted).rpartition("=")[2]
        return not known.isdecimal() or int(known) == length

    return len(got) == len(shape) and all(map(fits, shape, got))


def labels(name: str, values: Any, shape: tuple[int | str, ...], num_classes: Any = None) -> None:
    """:func:`integers` for labels of classes: in 0..C-1, or at least 0 where C is not known.

    Example:
        >>> labels("y", [1, 2, 3], ("N",), num_classes=3)
        Traceback (most recent call last):
        ValueError: y must be in 0..2, got 1..3
    """
    integers(name, values, shape, at_least=0, at_most=num_classes and num_classes - 1)


def floats(name: str, value: Any) -> None:
    """TypeError unless an array is of floats, as images in [0, 1] are.

    Example:
        >>> floats("x", np.zeros((2, 8, 8, 1), np.uint8))
        Traceback (most recent call last):
        TypeError: x must be floating point, got uint8; bytes are divided by 255
    """
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        fix = "; bytes are divided by 255" if dtype == np.uint8 else ""
        raise TypeError(f"{name} must be floating point, got {dtype}{fix}")


def mask(name: str, value: Any, shape: tuple[int | str, ...]) -> None:
    """TypeError unless an array is of bool, ValueError unless it has this shape."""
    array = value if hasattr(value, "dtype") else np.asarray(value)
    wanted = ", ".join(map(str, shape))
    if array.dtype != bool:
        raise TypeError(f"{name} must be a mask, bool [{wanted}], got {array.dtype}")
    if not _fits(array.shape, shape):
        raise ValueError(f"{name} must have shape [{wanted}], got {list(array.shape)}")


def identities(name: str, values: Any) -> np.ndarray:
    """An array of texts or integers, which identify clients; TypeError for other values.

    Example:
        >>> identities("owners", [0.5, float("nan")])
        Traceback (most recent call last):
        TypeError: owners must be all texts or all integers, got float64
    """
    array = np.asarray(values)
    if array.dtype == object and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(str)  # a column of a table
    mixed = not isinstance(values, np.ndarray) and len({isinstance(v, str) for v in values}) > 1
    if array.size and (array.dtype.kind not in "iuUS" or mixed):
        got = "both" if mixed else array.dtype
        raise TypeError(f"{name} must be all texts or all integers, got {got}")
    return array


def same_shapes(name: str, value: Any, like: Any) -> None:
    """ValueError unless a pytree has the structure of another one, and its shapes.

    Example:
        >>> same_shapes("mixed", np.zeros(3), np.zeros((4, 3)))
        Traceback (most recent call last):
        ValueError: mixed must have the structure and shapes of (4, 3), got (3,)
    """
    got, wanted = (jax.tree.map(np.shape, tree) for tree in (value, like))
    if got != wanted:
        raise ValueError(f"{name} must have the structure and shapes of {wanted}, got {got}")


def key(name: str, value: Any) -> None:
    """TypeError unless it is a random key of JAX, or several.

    Example:
        >>> key("key", 0)
        Traceback (most recent call last):
        TypeError: key must be a random key such as jax.random.key(0), got 0
    """
    dtype = getattr(value, "dtype", None)
    old = dtype == np.uint32 and np.ndim(value) > 0 and np.shape(value)[-1] in (2, 4)
    if dtype is None or not (old or jnp.issubdtype(dtype, jax.dtypes.prng_key)):
        raise TypeError(f"{name} must be a random key such as jax.random.key(0), got {value!r}")


def seed(name: str, value: Any) -> None:
    """:func:`count` from 0 to 2^32 - 1: beyond, two seeds may be one random key.

    Example:
        >>> seed("seed", 2**32 + 1)
        Traceback (most recent call last):
        ValueError: seed must be in 0..4294967295, got 4294967297
    """
    count(name, value, 0, LARGEST_SEED)


def seeds(name: str, values: Any) -> np.ndarray:
    """Which seeds, int ``[S]``, of how many or which.

    Raises:
        TypeError: if they are no integers.
        ValueError: if there is none, one is out of the range of :func:`seed`, or two are equal.

    Example:
        >>> seeds("seeds", 3)
        array([0, 1, 2])
    """
    if np.ndim(values) == 0:
        count(name, values)
        return np.arange(int(values))
    integers(name, values, ("S",), at_least=0, at_most=LARGEST_SEED)
    if not np.size(values) or len(np.unique(values)) < np.size(values):
        raise ValueError(f"{name} must be at least one, and all different, got {values}")
    return np.asarray(values)


def one_of(name: str, value: Any, allowed: Collection[Any]) -> None:
    """ValueError unless the value is one of those allowed.

    Example:
        >>> one_of("by", "weight", ("clients", "examples"))
        Traceback (most recent call last):
        ValueError: by must be one of clients, examples, got 'weight'
    """
    if value not in allowed:
        shown = ", ".join(map(str, allowed))
        raise ValueError(f"{name} must be one of {shown}, got {value!r}")


def texts(name: str, values: Any) -> list[str]:
    """The values as a list of strings.

    Raises:
        TypeError: if it is one string, no list, or another value is in it, with its place.

    Example:
        >>> texts("texts", ["a cat", None])
        Traceback (most recent call last):
        TypeError: texts must be a list of strings, got None at [1]
    """
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} must be a list of strings, got the string {values[:40]!r}")
    try:
        listed = list(values)
    except TypeError:
        kind = type(values).__name__
        raise TypeError(f"{name} must be a list of strings, got {kind}") from None
    for i, value in enumerate(listed):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a list of strings, got {value!r} at [{i}]")
    return listed


def functions(**values: Any) -> None:
    """TypeError for a value, by name, that cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")


def scalar_function(name: str, function: Any, *args: Any) -> None:
    """TypeError unless a function, called so, returns a number; it is traced for that.

    Example:
        >>> scalar_function("weigh", lambda delay: lambda x: x, 3)
        Traceback (most recent call last):
        TypeError: weigh must return a number, got the function <lambda> itself
    """
    functions(**{name: function})

    def check(*args: Any) -> None:
        value = function(*args)
        if np.shape(value) or callable(value) or value is None:
            got = described(value) if not np.shape(value) else f"shape {list(np.shape(value))}"
            raise TypeError(f"{name} must return a number, got {got}")

    jax.eval_shape(check, *args)


def kind(wanted: type, **values: Any) -> None:
    """TypeError for a part, by name, of another kind, a factory that was not called included.

    Example:
        >>> kind(int, period=max)
        Traceback (most recent call last):
        TypeError: period must be an int, got the function max itself
    """
    for name, value in values.items():
        if not isinstance(value, wanted):
            article = "an" if wanted.__name__[0] in "AEIOaeio" else "a"
            raise TypeError(f"{name} must be {article} {wanted.__name__}, got {described(value)}")


def described(value: Any) -> str:
    """What an error calls a part of the wrong kind: its type, or the function that it is."""
    named = callable(value) and not isinstance(value, type) and hasattr(value, "__name__")
    return f"the function {value.__name__} itself" if named else type(value).__name__


def optimizers(**values: Any) -> None:
    """TypeError for an optimizer, by name, that is none of optax's kind, or another part.

    Example:
        >>> optimizers(optimizer=0.1)
        Traceback (most recent call last):
        TypeError: optimizer must be an optax.GradientTransformation, got float
    """
    for name, value in values.items():
        fine = all(callable(getattr(value, field, None)) for field in ("init", "update"))
        if not fine or type(value).__module__.startswith("jcollab."):
            raise TypeError(
                f"{name} must be an optax.GradientTransformation, got {described(value)}"
            )


def members(mask: Any, n: int, name: str = "mask", *, numbers: bool = False) -> np.ndarray:
    """Numbers of some of n clients in ascending order, int ``[r]``; None is all of them.

    Args:
        mask: bool ``[n]``.
        n: number of clients.
        name: of the argument.
        numbers: whether a list of clients, int ``[r]``, is allowed as well; it may be empty. A
            mask of zeros and ones is no such list, since clients in a list differ.

    Raises:
        TypeError: if it has another type.
        ValueError: if it has another shape, no client is in it, or clients in a list are none of
            0..n-1 or occur twice.
    """
    if mask is None:
        return np.arange(n)
    given = np.asarray(mask)
    if numbers and given.dtype != bool:
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(
                f"{name} must be a mask, bool [n={n}], or numbers of clients, got {mask!r}"
            )
        integers(name, given, ("r",), at_least=0, at_most=n - 1)
        if len(np.unique(given)) < len(given):
            raise ValueError(
                f"{name} must be a mask, bool [n={n}], or numbers of clients that differ, got "
                f"{given.tolist()}"
            )
        return np.sort(given).astype(int)
    if given.dtype != bool or given.shape != (n,):
        raise ValueError(
            f"{name} must be a mask, bool [n={n}], got {given.dtype} of shape {given.shape}"
        )
    if not numbers and not given.any():
        raise ValueError(f"{name} must have at least one client, got none")
    return np.flatnonzero(given)
