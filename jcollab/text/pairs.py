"""Sentences and their translations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jcollab import checks


class Pairs(NamedTuple):
    """Sentence i of one language and its translation.

    Attributes:
        source: N strings.
        target: N strings.
        origin: where each pair is from, for example a catalog; empty if that is not known.
    """

    source: list[str]
    target: list[str]
    origin: list[str] = []  # noqa: RUF012 (never changed)

    def both(self) -> Iterator[tuple[str, str]]:
        """Pair by pair.

        Raises:
            TypeError: if a side is no list of strings, with the place of what is none.
            ValueError: if the sides differ in length.
        """
        checks.texts("source", self.source)
        checks.texts("target", self.target)
        if len(self.source) != len(self.target):
            raise ValueError(
                "source and target must be equally long, got "
                f"{len(self.source)} and {len(self.target)}"
            )
        return zip(self.source, self.target, strict=True)

    def keep(self, mask: Sequence[bool]) -> Pairs:
        """Those pairs where the mask is true; ValueError if it has another length."""
        if len(mask) != len(self.source):
            raise ValueError(f"mask must be of N={len(self.source)} pairs, got {len(mask)}")
        return self.take([i for i, kept in enumerate(mask) if kept])

    def take(self, rows: Sequence[int]) -> Pairs:
        """Those pairs, in that order."""
        fields = ([field[i] for i in rows] if field else [] for field in self)
        return Pairs(*fields)
