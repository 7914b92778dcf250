"""Selections of the leaves of a model, for example those that clients share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

PyTree = Any
Select = Callable[[str, Any], bool] | str | PyTree
"""A choice of leaves: one of

    select(path, leaf) -> bool     with a path such as "params/Dense_0/kernel"
    "params/Dense_0"               the leaves whose path is this one or begins with it and "/"
    a pytree of bools              of the structure of the model
"""


def check_select(name: str, select: Any) -> None:
    """Raises TypeError unless it has one of the forms of a selection.

    Example:
        >>> check_select("share", 3)
        Traceback (most recent call last):
        TypeError: share must be a function of path and leaf, a path, or a pytree of bools, got int
    """
    leaves = jax.tree.leaves(select)
    if isinstance(select, str) or callable(select) or (leaves and all(map(_is_flag, leaves))):
        return
    raise TypeError(
        f"{name} must be a function of path and leaf, a path, or a pytree of bools, got "
        f"{type(select).__name__}"
    )


def selected(select: Select, tree: PyTree, name: str = "select") -> list[bool]:
    """Returns whether each leaf is selected, in the order of the leaves.

    Args:
        select: see :data:`jcollab.core.Select`.
        tree: the model. Only its structure and the shapes of its leaves matter.
        name: name of the argument in error messages.

    Raises:
        TypeError: if a function does not return bools.
        ValueError: if no leaf is selected, or a pytree of bools has another structure.

    Example:
        >>> tree = {"body": {"w": jnp.ones(2)}, "head": jnp.ones(3)}
        >>> selected("body", tree), selected(lambda path, leaf: "head" in path, tree)
        ([True, False], [False, True])
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    if isinstance(select, str):
        flags: list[Any] = [path == select or path.startswith(f"{select}/") for path in paths]
    elif callable(select):
        flags = [select(path, leaf) for path, (_, leaf) in zip(paths, leaves, strict=True)]
    else:
        flags = jax.tree.leaves(select)
        if str(jax.tree.structure(select)) != str(jax.tree.structure(tree)):
            raise ValueError(
                f"{name} must have the structure of the model, {jax.tree.structure(tree)}, got "
                f"{jax.tree.structure(select)}"
            )
    if not all(map(_is_flag, flags)):
        kinds = sorted({type(flag).__name__ for flag in flags})
        raise TypeError(f"{name} must return bools, got {', '.join(kinds)}")
    if not any(flags):
        raise ValueError(f"{name} must choose at least one of {paths}, got none")
    return [bool(flag) for flag in flags]


def split(tree: PyTree, flags: list[bool]) -> tuple[PyTree, PyTree]:
    """Splits a pytree into selected leaves and the rest; each part has None in place of the other.

    Example:
        >>> split({"a": 1, "b": 2}, [True, False])
        ({'a': 1, 'b': None}, {'a': None, 'b': 2})
    """
    leaves, structure = jax.tree.flatten(tree)
    chosen = [leaf if flag else None for leaf, flag in zip(leaves, flags, strict=True)]
    rest = [None if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
    return jax.tree.unflatten(structure, chosen), jax.tree.unflatten(structure, rest)


def merge(chosen: PyTree, rest: PyTree) -> PyTree:
    """Inverts :func:`split`; ``rest`` is () if all leaves were selected.

    Example:
        >>> merge({"a": 1, "b": None}, {"a": None, "b": 2})
        {'a': 1, 'b': 2}
    """
    if isinstance(rest, tuple) and rest == ():
        return chosen
    return jax.tree.map(
        lambda a, b: b if a is None else a, chosen, rest, is_leaf=lambda leaf: leaf is None
    )


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))
