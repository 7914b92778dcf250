"""Client names, which data and topologies may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jcollab import checks


class Names(Sequence):
    """An immutable sequence of client names, in the order of the client axis.

    Names are compared by value. They are static in a compiled program: data with other names
    compile another program.

    Args:
        values: ``[n]``, all texts or all integers.

    Raises:
        TypeError: if values are neither all texts nor all integers.
        ValueError: if two values are equal.

    Example:
        >>> names = Names(["ann", "bob"])
        >>> names[1], len(names), names == Names(["ann", "bob"])
        ('bob', 2, True)
    """

    def __init__(self, values: Sequence[Any] | np.ndarray):
        array = checks.identities("names", values)
        if array.ndim != 1:
            raise ValueError(f"names must have shape [n], got {list(array.shape)}")
        if len(np.unique(array)) < len(array):
            raise ValueError(f"names must differ, got {values!r}")
        # One width: int32 and int64 names with the same values must be equal, and hash alike.
        self._values = array.astype(np.int64) if array.dtype.kind in "iu" else array
        # jit hashes static values at every call, and there may be many thousands of names.
        self._hash = hash((self._values.dtype.str, self._values.tobytes()))

    def __getitem__(self, i: Any) -> Any:
        """Returns the name of client i."""
        return self._values[i].tolist()

    def __len__(self) -> int:
        """Returns the number of clients."""
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        """Iterates over all names."""
        return iter(self._values.tolist())

    def __hash__(self) -> int:
        """Returns the hash of the values, which is computed once."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Returns whether the values are the same."""
        if self is other or not isinstance(other, Names):
            return self is other
        return self._hash == other._hash and np.array_equal(self._values, other._values)

    def __repr__(self) -> str:
        """Shows the first five names."""
        more = ", ..." if len(self) > 5 else ""
        return f"Names({', '.join(map(repr, self[:5]))}{more})"


def agreed(one: Names | None, other: Names | None, what: tuple[str, str], fix: str) -> Names | None:
    """Returns the names of both; raises a ValueError that shows both if they differ.

    Args:
        one: names, or None if there are none.
        other: names, or None if there are none.
        what: the owners of ``one`` and ``other``, for the error message.
        fix: advice, for the error message.
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
