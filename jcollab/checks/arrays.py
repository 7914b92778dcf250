"""Checks of arrays: labels, indices, masks, clients, texts and shapes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.checks.numbers import LARGEST_SEED, count, traced


def integers(
    name: str,
    values: Any,
    shape: tuple[int | str, ...] | None = None,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
) -> None:
    """Checks an array of integers.

    Type and shape of a traced array are checked, its range is not.

    Args:
        name: name of the argument.
        values: array, or nested lists of numbers.
        shape: for each axis its length, with a name (``"n=4"``) or without (``4``), or a name alone
            if any length is allowed (``"N"``). None for any shape.
        at_least: lower bound, inclusive.
        at_most: upper bound, inclusive.

    Raises:
        TypeError: if the array does not contain integers.
        ValueError: if its shape or a value is not allowed.

    Example:
        >>> integers("y", [[0], [2], [1]], ("N",))
        Traceback (most recent call last):
        ValueError: y must have shape [N], got [3, 1]; use y[:, 0]
        >>> integers("y", [0.5, 1.0])
        Traceback (most recent call last):
        TypeError: y must be integers, got float...
    """
    array = values if hasattr(values, "dtype") else np.asarray(values)
    # an empty list is a float array in NumPy, and valid wherever no number is
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
    array = np.asarray(array)  # inside of jit, operations of jnp would be traced
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
    """Checks class labels: integers in 0..C-1, or at least 0 if C is not given.

    Args:
        name: name of the argument.
        values: as for :func:`integers`.
        shape: as for :func:`integers`.
        num_classes: C, or None.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if their shape or a label is not allowed.

    Example:
        >>> labels("y", [1, 2, 3], ("N",), num_classes=3)
        Traceback (most recent call last):
        ValueError: y must be in 0..2, got 1..3
    """
    integers(name, values, shape, at_least=0, at_most=num_classes and num_classes - 1)


def floats(name: str, value: Any, fix: str = "") -> None:
    """Checks that an array, or every leaf of a pytree, is real and floating point.

    Args:
        name: name of the argument.
        value: array or pytree, for example images in [0, 1].
        fix: advice for the error message.

    Raises:
        TypeError: if a leaf has another type.

    Example:
        >>> floats("x", np.zeros((2, 8, 8, 1), np.uint8))
        Traceback (most recent call last):
        TypeError: x must be floating point, got uint8; bytes are divided by 255
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(value):
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if jnp.issubdtype(dtype, jnp.floating):
            continue
        if dtype == np.uint8:
            fix = "bytes are divided by 255"
        elif jnp.issubdtype(dtype, jnp.complexfloating):
            fix = "real and imaginary parts are two arrays"
        got = dtype if hasattr(leaf, "dtype") else type(leaf).__name__
        where = name + jax.tree_util.keystr(path)
        raise TypeError(f"{where} must be floating point, got {got}" + (f"; {fix}" if fix else ""))


def mask(name: str, value: Any, shape: tuple[int | str, ...]) -> None:
    """Checks a boolean array.

    Raises:
        TypeError: if the array is not boolean.
        ValueError: if it has another shape.

    Example:
        >>> mask("byzantine", [0, 1, 1], ("n=3",))
        Traceback (most recent call last):
        TypeError: byzantine must be a mask, bool [n=3], got int64
    """
    array = value if hasattr(value, "dtype") else np.asarray(value)
    wanted = ", ".join(map(str, shape))
    if array.dtype != bool:
        raise TypeError(f"{name} must be a mask, bool [{wanted}], got {array.dtype}")
    if not _fits(array.shape, shape):
        raise ValueError(f"{name} must have shape [{wanted}], got {list(array.shape)}")


def members(mask: Any, n: int, name: str = "mask", *, numbers: bool = False) -> np.ndarray:
    """Returns the indices of some of n clients in ascending order, int ``[r]``.

    Args:
        mask: bool ``[n]``; None for all clients.
        n: number of clients.
        name: name of the argument.
        numbers: whether a list of indices, int ``[r]``, is allowed too. It may be empty.

    Raises:
        TypeError: if ``mask`` has another type.
        ValueError: if it has another shape or selects no client, or if indices are outside of
            0..n-1 or occur twice.

    Example:
        >>> members([True, False, True], 3).tolist()
        [0, 2]
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
        # repeated indices are most likely a mask of zeros and ones
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


def identities(name: str, values: Any) -> np.ndarray:
    """Converts identities of clients to an array; raises TypeError unless texts or integers.

    Example:
        >>> identities("owners", [0.5, float("nan")])
        Traceback (most recent call last):
        TypeError: owners must be all texts or all integers, got float64
    """
    array = np.asarray(values)
    if array.dtype == object and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(str)  # a column of a table
    # NumPy converts a list of texts and integers to texts: 1 and "1" would become one client
    mixed = not isinstance(values, np.ndarray) and len({isinstance(v, str) for v in values}) > 1
    if array.size and (array.dtype.kind not in "iuUS" or mixed):
        got = "both" if mixed else array.dtype
        raise TypeError(f"{name} must be all texts or all integers, got {got}")
    return array


def texts(name: str, values: Any) -> list[str]:
    """Converts values to a list of strings.

    Raises:
        TypeError: if ``values`` is one string or not iterable, or contains another value; the
            message contains its position.

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


def same_shapes(name: str, value: Any, like: Any) -> None:
    """Raises ValueError unless a pytree has the structure and shapes of another one.

    Example:
        >>> same_shapes("mixed", np.zeros(3), np.zeros((4, 3)))
        Traceback (most recent call last):
        ValueError: mixed must have the structure and shapes of (4, 3), got (3,)
    """
    got, wanted = (jax.tree.map(np.shape, tree) for tree in (value, like))
    if got != wanted:
        raise ValueError(f"{name} must have the structure and shapes of {wanted}, got {got}")


def seeds(name: str, values: Any) -> np.ndarray:
    """Returns seeds, int ``[S]``, from their count or from a list.

    Raises:
        TypeError: if seeds are not integers.
        ValueError: if there are none, one is out of the range of :func:`seed`, or two are equal.

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
