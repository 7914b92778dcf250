"""Vocabularies: word counts, subsampling of frequent words, and sampling of negatives."""

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
    """A list of words with their counts, usually sorted by decreasing count.

    Attributes:
        words: V words; the index of a word is its position.
        counts: int64 ``[V]``.

    Example:
        >>> vocabulary = jc.text.Vocabulary(("the", "cat"), np.array([5, 2]))
        >>> vocabulary.index(["cat", "dog"]).tolist()
        [1, -1]
    """

    words: tuple[str, ...]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The index of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def index(self, words: Iterable[str]) -> np.ndarray:
        """Returns the indices of words, int32; -1 for words outside the vocabulary."""
        listed = checks.texts("words", words)
        return np.array([self.ids.get(word, -1) for word in listed], np.int32)


def build_vocabulary(
    texts: Iterable[Sequence[str]], *, min_count: int = 10, max_size: int = 750_000
) -> Vocabulary:
    """Builds a vocabulary from the word counts of texts, with one text in memory at a time.

    Args:
        texts: lists of words.
        min_count: smallest count; rarer words are dropped.
        max_size: largest number of words; the rarest are dropped.

    Returns:
        The vocabulary; words of equal count are in alphabetical order.

    Raises:
        TypeError: if a text is not a list of words; the message gives its position.
        ValueError: if a number is not positive, the texts have no words, or no word is frequent
            enough.

    Example:
        >>> vocabulary = jc.text.build_vocabulary([["a", "b", "a"], ["b", "c"]], min_count=2)
        >>> vocabulary.words, vocabulary.counts.tolist()
        (('a', 'b'), [2, 2])
    """
    checks.counts(min_count=min_count, max_size=max_size)
    counter: collections.Counter = collections.Counter()
    if isinstance(texts, str):
        raise TypeError(f"texts must be a list of lists of words, got the string {texts[:40]!r}")
    for i, words in enumerate(texts):
        counter.update(checks.texts(f"texts[{i}]", words))
    if not counter:
        raise ValueError("texts must have at least one word, got an empty corpus")
    # ties are broken by the word, so that the order does not depend on the order of the texts
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
    """Computes the probability that an occurrence of each word is not used as a target.

        p_drop(w) = 1 - min(1, sqrt(t / f_w) + t / f_w),    f_w = count_w / sum_v count_v

    Args:
        counts: ``[V]``, positive.
        threshold: t, positive; 5e-6 suits billions of words. A small corpus needs a larger
            value, because its words have larger frequencies f_w.

    Returns:
        float64 ``[V]`` in [0, 1).

    Raises:
        ValueError: if a value is not positive.

    Example:
        >>> jc.text.drop_probability(np.array([90, 10]), threshold=0.01).round(3).tolist()
        [0.883, 0.584]

    Source: Joulin et al. 2017 (fastText), arXiv 1607.01759.
    """
    checks.number("threshold", threshold, above=0)
    ratio = threshold / _shares(counts, 1.0)
    return 1 - np.minimum(1, np.sqrt(ratio) + ratio)


def negative_shares(counts: np.ndarray, power: float = 0.5) -> np.ndarray:
    """Computes the distribution of negatives, ``q(w) = count_w^power / sum_v count_v^power``.

    Args:
        counts: ``[V]``, positive.
        power: exponent; 1 gives word frequencies, 0 the uniform distribution.

    Returns:
        float64 ``[V]`` with sum 1.

    Raises:
        ValueError: if a count is not positive.

    Example:
        >>> jc.text.negative_shares(np.array([9, 1]), power=0.5).tolist()
        [0.75, 0.25]
    """
    return _shares(counts, power)


class Alias(NamedTuple):
    """An alias table: a distribution over V words with constant time per draw.

    Attributes:
        threshold: ``[V]``, probability that a draw of slot v returns v.
        other: int32 ``[V]``, the word that it returns otherwise.
    """

    threshold: Array
    other: Array


def alias(shares: np.ndarray) -> Alias:
    """Builds the alias table of a distribution.

    Args:
        shares: probabilities, ``[V]``.

    Raises:
        ValueError: if a share is negative or the shares do not sum to 1.

    Example:
        >>> jc.text.alias(np.array([0.75, 0.25])).threshold.tolist()
        [1.0, 0.5]

    Source: Walker 1977; Vose 1991.
    """
    checks.finite(at_least=0, shares=shares, arrays=True)
    if abs(np.sum(shares) - 1) > 1e-5:
        raise ValueError(f"shares must sum to 1, got {np.sum(shares):g}")
    scaled = np.asarray(shares, float) * len(shares)
    other = np.arange(len(scaled), dtype=np.int32)
    threshold = np.ones(len(scaled), np.float32)
    # Vose's method: each slot has mass 1 = V * (1 / V). A slot whose word has less takes the rest
    # from one word that has more, so that a slot never contains more than two words.
    small = list(np.flatnonzero(scaled < 1))
    large = list(np.flatnonzero(scaled >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        threshold[low], other[low] = scaled[low], high
        scaled[high] -= 1 - scaled[low]
        if scaled[high] < 1:
            small.append(large.pop())
    # rounding may leave slots in either list; their mass is 1 up to rounding, the initial value
    return Alias(jnp.asarray(threshold), jnp.asarray(other))


def draw(table: Alias, key: Array, shape: tuple[int, ...]) -> Array:
    """Samples words independently, with replacement.

    Args:
        table: distribution over V words, from :func:`alias`.
        key: random key.
        shape: shape of the result.

    Returns:
        Indices of words, int32 of the given shape.

    Example:
        >>> table = jc.text.alias(np.array([0.7, 0.2, 0.1]))
        >>> words = jc.text.draw(table, jax.random.key(0), (2000,))
        >>> (np.bincount(words) / 2000).round(1).tolist()
        [0.7, 0.2, 0.1]
    """
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
