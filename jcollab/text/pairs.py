"""Pairs of sentences and their translations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jcollab import checks


class Pairs(NamedTuple):
    """Sentences of one language with their translations.

    Attributes:
        source: N sentences.
        target: N translations; ``target[i]`` is the translation of ``source[i]``.
        origin: N names of the sources of the pairs, for example of catalogs; empty if unknown.

    Example:
        >>> pairs = jc.text.Pairs(["a cat", "a dog"], ["eine Katze", "ein Hund"])
        >>> pairs.keep([False, True]).target
        ['ein Hund']
    """

    source: list[str]
    target: list[str]
    origin: list[str] = []  # noqa: RUF012 (never changed)

    def both(self) -> Iterator[tuple[str, str]]:
        """Iterates over the pairs.

        Raises:
            TypeError: if a side is not a list of strings; the message gives the position.
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
        """Returns the pairs where the mask is true; ValueError if its length is not N."""
        if len(mask) != len(self.source):
            raise ValueError(f"mask must have length N={len(self.source)}, got {len(mask)}")
        return self.take([i for i, kept in enumerate(mask) if kept])

    def take(self, rows: Sequence[int]) -> Pairs:
        """Returns the pairs of the given indices, in that order."""
        fields = ([field[i] for i in rows] if field else [] for field in self)
        return Pairs(*fields)
