"""Words that get a vector: counting, subsampling of frequent ones, and drawing negatives."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Words by falling count.

    Attributes:
        words: V of them; a word's number is its place.
        counts: int64 ``[V]``.
    """

    words: tuple[str, ...]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The number of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def index(self, words: Iterable[str]) -> np.ndarray:
        """Numbers of words, int32; -1 for those that are not in the vocabulary."""
        listed = checks.texts("words", words)
        return np.array([self.ids.get(word, -1) for word in listed], np.int32)


def build_vocabulary(
    texts: Iterable[Sequence[str]], *, min_count: int = 10, max_size: int = 750_000
) -> Vocabulary:
    """Counts the words of texts, one text in memory at a time.

    Args:
        texts: of words.
        min_count: words that are rarer are left out.
        max_size: most words; the rarest are left out.

    Raises:
        TypeError: if a text is no list of words, with its place.
        ValueError: if a number is not positive, texts have no word, or none is frequent enough.

    Example:
        >>> build_vocabulary([["a", "b", "a"]], min_count=2).words
        ('a',)
    """
    checks.counts(min_count=min_count, max_size=max_size)
    counter: collections.Counter = collections.Counter()
    if isinstance(texts, str):
        raise TypeError(f"texts must be a list of lists of words, got the string {texts[:40]!r}")
    for i, words in enumerate(texts):
        counter.update(checks.texts(f"texts[{i}]", words))
    if not counter:
        raise ValueError("texts must have at least one word, got an empty corpus")
    kept = sorted((-count, word) for word, count in counter.items() if count >= min_count)
    if not kept:
        raise ValueError(
            f"min_count must leave at least one word, got min_count={min_count} where the most "
            f"frequent of {len(counter)} words has a count of {max(counter.values())}"
        )
    kept = kept[:max_size]
    return Vocabulary(
        tuple(word for _, word in kept), np.array([-count for count, _ in kept], np.int64)
    )


def drop_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
    """How often an occurrence of a word is no target.

        p_drop(w) = 1 - min(1, sqrt(t / f_w) + t / f_w),    f_w = count_w / sum_v count_v

    Args:
        counts: ``[V]``, positive.
        threshold: t, positive; 5e-6 for billions of words. A small corpus needs a larger one:
            what is kept falls as the words of a corpus become fewer.

    Returns:
        float64 ``[V]`` in [0, 1).

    Raises:
        ValueError: for values that are not positive.

    Source: Joulin et al. 2017 (fastText), arXiv 1607.01759.
    """
    checks.number("threshold", threshold, above=0)
    ratio = threshold / _shares(counts, 1.0)
    return 1 - np.minimum(1, np.sqrt(ratio) + ratio)


def negative_shares(counts: np.ndarray, power: float = 0.5) -> np.ndarray:
    """The distribution of negatives: ``q(w) = count_w^power / sum_v count_v^power``.

    Raises:
        ValueError: for counts that are not positive.
    """
    return _shares(counts, power)


class Alias(NamedTuple):
    """A distribution over V words from which a draw takes the same time whatever V is.

    Attributes:
        threshold: ``[V]``, chance to stay at a slot.
        other: int32 ``[V]``, the word to go to otherwise.
    """

    threshold: Array
    other: Array


def alias(shares: np.ndarray) -> Alias:
    """The alias table of a distribution ``[V]``.

    Raises:
        ValueError: if shares are negative or do not sum to 1.

    Source: Walker 1977; Vose 1991.
    """
    checks.finite(at_least=0, shares=shares, arrays=True)
    if abs(np.sum(shares) - 1) > 1e-5:
        raise ValueError(f"shares must sum to 1, got {np.sum(shares):g}")
    scaled = np.asarray(shares, float) * len(shares)
    other = np.arange(len(scaled), dtype=np.int32)
    threshold = np.ones(len(scaled), np.float32)
    small = list(np.flatnonzero(scaled < 1))
    large = list(np.flatnonzero(scaled >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        threshold[low], other[low] = scaled[low], high
        scaled[high] -= 1 - scaled[low]
        if scaled[high] < 1:
            small.append(large.pop())
    return Alias(jnp.asarray(threshold), jnp.asarray(other))


def draw(table: Alias, key: Array, shape: tuple[int, ...]) -> Array:
    """Independent draws, with replacement, int32 of a shape."""
    slot_key, stay_key = jax.random.split(key)
    slot = jax.random.randint(slot_key, shape, 0, len(table.other), jnp.int32)
    stay = jax.random.uniform(stay_key, shape, jnp.float32) < table.threshold[slot]
    return jnp.where(stay, slot, table.other[slot])


def _shares(counts: np.ndarray, power: float) -> np.ndarray:
    counts = np.asarray(counts, float)
    if counts.ndim != 1 or not counts.size or not (counts > 0).all():
        raise ValueError("counts must be [V] positive numbers, V at least 1")
    weights = counts**power
    return weights / weights.sum()
