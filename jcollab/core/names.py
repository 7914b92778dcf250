"""Names of clients, which data and topologies have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jcollab import checks


class Names(Sequence):
    """Names of clients, by number. They are compared by value, and hashed once.

    In a compiled program they are static, and cost nothing there: data with other names, or with
    none, compile a program of their own.

    Args:
        values: all texts or all integers, ``[n]``.

    Raises:
        TypeError: if they are of another kind.
        ValueError: if two are equal.
    """

    def __init__(self, values: Sequence[Any] | np.ndarray):
        array = checks.identities("names", values)
        if array.ndim != 1:
            raise ValueError(f"names must have shape [n], got {list(array.shape)}")
        if len(np.unique(array)) < len(array):
            raise ValueError(f"names must differ, got {values!r}")
        # the same names are equal whatever their width
        self._values = array.astype(np.int64) if array.dtype.kind in "iu" else array
        self._hash = hash((self._values.dtype.str, self._values.tobytes()))

    def __getitem__(self, i: Any) -> Any:
        """The name of client i."""
        return self._values[i].tolist()

    def __len__(self) -> int:
        """The number of clients."""
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        """All names."""
        return iter(self._values.tolist())

    def __hash__(self) -> int:
        """Of the values, computed once."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether the values are the same."""
        if self is other or not isinstance(other, Names):
            return self is other
        return self._hash == other._hash and np.array_equal(self._values, other._values)

    def __repr__(self) -> str:
        """The first few of them."""
        more = ", ..." if len(self) > 5 else ""
        return f"Names({', '.join(map(repr, self[:5]))}{more})"


def agreed(one: Names | None, other: Names | None, what: tuple[str, str], fix: str) -> Names | None:
    """The names that both have, or one of them; ValueError that shows both if they differ.

    Args:
        one: names, or None.
        other: names, or None.
        what: whose they are.
        fix: what to do, for the error.
    """
    if one is None or other is None or one == other:
        return other if one is None else one
    first = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    where = f"{len(one)} and {len(other)} of them"
    if first is not None:
        where = f"which differ at client {first}, {one[first]!r} and {other[first]!r}"
    raise ValueError(
        f"names of {what[0]} and of {what[1]} must be the same, in one order, got {one!r} and "
        f"{other!r}, {where}; {fix}"
    )
