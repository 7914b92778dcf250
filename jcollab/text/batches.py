"""From texts to batches: occurrences of words, which of them are targets, and what they need.

A batch is gathered on the device, inside the compiled run, from arrays of all clients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Batches, replicate
from jcollab.data.batches import from_function
from jcollab.text.vocabulary import Alias, Vocabulary, alias, draw, drop_probability
from jcollab.text.vocabulary import negative_shares as shares_of

Array = jax.Array


class Corpus(NamedTuple):
    """Occurrences of words of a vocabulary, in order.

    Attributes:
        words: int32 ``[M]``.
        sentences: number of the sentence of each, int32 ``[M]``.
    """

    words: np.ndarray
    sentences: np.ndarray


class TextData(NamedTuple):
    """What batches are gathered from, for n clients.

    Attributes:
        words: of all occurrences, int32 ``[n, M]``.
        sentences: of all occurrences, int32 ``[n, M]``.
        positions: the occurrences that are targets in each round, int32 ``[n, R, T]``.
        shares: of negatives, with leaves ``[n, V]``.
        contexts: of sentences, ``[n, S, d]``; ``[n, 0, 0]`` where there is no teacher.
    """

    words: Any
    sentences: Any
    positions: Any
    shares: Alias
    contexts: Any


def index_corpus(sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> Corpus:
    """The occurrences of a vocabulary's words in sentences, which are read one at a time.

    Raises:
        TypeError: if a sentence is no list of words, with its place.
        ValueError: if there is none.
    """
    tokens, numbers = [], []
    for number, sentence in enumerate(sentences):
        ids = vocabulary.index(checks.texts(f"sentences[{number}]", sentence))
        ids = ids[ids >= 0]
        tokens.append(ids)
        numbers.append(np.full(len(ids), number, np.int32))
    if not sum(map(len, tokens)):
        raise ValueError("sentences must have at least one word of the vocabulary, got none")
    return Corpus(np.concatenate(tokens), np.concatenate(numbers))


def schedule(
    corpus: Corpus,
    drop: np.ndarray,
    *,
    batch_size: int,
    epochs: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Which occurrences are targets, round by round.

    In each epoch every occurrence is dropped with the probability of its word, anew, and sentences
    are shuffled; their occurrences stay together.

    Args:
        corpus: of one client.
        drop: probability to be dropped of each word, ``[V]``.
        batch_size: T.
        epochs: times that the corpus is gone through.
        rng: NumPy generator.

    Returns:
        Places in the corpus, int32 ``[R, T]``; of the last round's, what is missing is filled up
        from the start.

    Raises:
        ValueError: if a number is not positive, or nothing is kept.
    """
    checks.counts(batch_size=batch_size, epochs=epochs)
    kept = []
    for _ in range(epochs):
        places = np.flatnonzero(rng.random(len(corpus.words)) >= drop[corpus.words])
        order = rng.permutation(corpus.sentences.max() + 1)
        kept.append(places[np.argsort(order[corpus.sentences[places]], kind="stable")])
    places = np.concatenate(kept).astype(np.int32)
    if not len(places):
        raise ValueError("drop must leave at least one occurrence, got none")
    rounds = -(-len(places) // batch_size)
    return np.resize(places, (rounds, batch_size))


def client_texts(
    corpora: Sequence[Corpus],
    vocabulary: Vocabulary,
    *,
    threshold: float,
    batch_size: int,
    epochs: int,
    contexts: Sequence[np.ndarray] | None = None,
    power: float = 0.5,
    seed: int = 0,
) -> TextData:
    """Stacks the corpora of n clients; the vocabulary, and the words' shares, are common.

    Args:
        corpora: one for each client.
        vocabulary: of all.
        threshold: t of :func:`jcollab.text.drop_probability`.
        batch_size: T.
        epochs: times that each corpus is gone through; who has less text starts anew, until all
            have as many rounds.
        contexts: of the sentences of each corpus, ``[S_i, d]``.
        power: of counts, for negatives.
        seed: of what is dropped and how sentences are shuffled.

    Raises:
        ValueError: if corpora and contexts do not fit.
    """
    if not corpora:
        raise ValueError("corpora must be at least one, got none")
    if contexts is not None:
        for i, (corpus, own) in enumerate(zip(corpora, contexts, strict=True)):
            if len(own) <= corpus.sentences.max():
                raise ValueError(
                    f"contexts[{i}] must have a row for each of {corpus.sentences.max() + 1} "
                    f"sentences, got {len(own)}"
                )
    checks.seed("seed", seed)
    drop = drop_probability(vocabulary.counts, threshold)
    plans = [
        schedule(
            corpus, drop, batch_size=batch_size, epochs=epochs, rng=np.random.default_rng([seed, i])
        )
        for i, corpus in enumerate(corpora)
    ]
    rounds = max(map(len, plans))
    positions = np.stack([np.resize(plan, (rounds, batch_size)) for plan in plans])
    shares = alias(shares_of(vocabulary.counts, power))
    shares = replicate(shares, len(corpora))
    empty = [np.zeros((0, 0), np.float32)] * len(corpora)
    return TextData(
        # -1 fills up: a sentence of its own, which no window reaches into
        _stack([corpus.words for corpus in corpora], -1),
        _stack([corpus.sentences for corpus in corpora], -1),
        jnp.asarray(positions),
        shares,
        _stack(empty if contexts is None else contexts, 0),
    )


def x2static_batches(
    data: TextData,
    negatives: int = 10,
    *,
    most_sentences: int | None = None,
    shared: bool = False,
) -> Batches:
    """Batches of X2Static for :func:`jcollab.run`: contexts, targets and negatives.

    Args:
        data: texts of n clients.
        negatives: N.
        most_sentences: L, from :func:`sentences_per_batch`: each context is in the batch once for
            all targets of its sentence. None repeats it for each.
        shared: whether negatives are drawn for each sentence, and its targets share them, in place
            of each target's own, as the paper has them. Needs L.

    Raises:
        ValueError: if a number is below 1, or ``shared`` has no L.
    """
    checks.counts(negatives=negatives, most_sentences=most_sentences)
    if shared and most_sentences is None:
        raise ValueError("shared needs most_sentences, got None")
    options = {"negatives": negatives, "most_sentences": most_sentences, "shared": shared}
    return from_function(_for_clients, data, one=_x2static_batch, **options)


def _x2static_batch(
    data: TextData,
    key: Array,
    step: Array,
    negatives: int,
    most_sentences: int | None,
    shared: bool,
) -> dict[str, Array]:
    places = data.positions[step % len(data.positions)]
    sentences, count = data.sentences[places], len(places)
    batch = {"targets": data.words[places]}
    if most_sentences is None:
        batch["contexts"] = data.contexts[sentences]
    else:
        lines = jnp.cumsum(jnp.diff(sentences, prepend=sentences[:1]) != 0)
        each = jnp.zeros(most_sentences, jnp.int32).at[lines].set(sentences)
        batch |= {"contexts": data.contexts[each], "lines": lines}
        if shared:
            batch["shares"] = jnp.zeros(most_sentences).at[lines].add(1 / count)
            count = most_sentences
    return batch | {"negatives": draw(data.shares, key, (negatives, count))}


def sentences_per_batch(data: TextData) -> int:
    """The most sentences, one after the other, that the targets of a batch come from."""
    sentences = np.take_along_axis(
        np.asarray(data.sentences)[:, None], np.asarray(data.positions), -1
    )
    return int((np.diff(sentences, axis=-1) != 0).sum(-1).max()) + 1


def bag_batches(
    data: TextData,
    negatives: int = 10,
    *,
    window: int = 5,
    skip_gram: bool = False,
    buckets: int = 0,
    shrink: bool = True,
) -> Batches:
    """Batches of CBOW, skip-gram and sent2vec, for :func:`jcollab.objectives.bag_loss`.

    Args:
        data: texts of n clients.
        negatives: N.
        window: words on each side of the target; sent2vec takes as many as a sentence can have.
        skip_gram: takes one of the window at random in place of all.
        buckets: rows after the V of the words to which pairs of neighboring words are hashed;
            0 for no pairs. Pairs that contain the target are left out.
        shrink: draws the size of each window from 1..window.

    Raises:
        ValueError: for a number out of range.
    """
    checks.counts(negatives=negatives, window=window)
    checks.count("buckets", buckets, 0)
    options = {"negatives": negatives, "window": window, "skip_gram": skip_gram}
    options |= {"buckets": buckets, "shrink": shrink}
    return from_function(_for_clients, data, one=_bag_batch, **options)


def _bag_batch(
    data: TextData,
    key: Array,
    step: Array,
    negatives: int,
    window: int,
    skip_gram: bool,
    buckets: int,
    shrink: bool,
) -> dict[str, Array]:
    offsets = np.array([*range(-window, 0), *range(1, window + 1)])
    draws, sizes, picks = jax.random.split(key, 3)
    places = data.positions[step % len(data.positions)]
    size = jnp.full(len(places), window)
    if shrink:
        size = jax.random.randint(sizes, size.shape, 1, window + 1, jnp.int32)

    def at(shift: np.ndarray) -> tuple[Array, Array]:
        where = places[:, None] + shift
        inside = (where >= 0) & (where < len(data.words))
        where = jnp.clip(where, 0, len(data.words) - 1)
        same = data.sentences[where] == data.sentences[places][:, None]
        return data.words[where], inside & same & (np.abs(shift) <= size[:, None])

    words, there = at(offsets)
    bags = jnp.where(there, words, -1)
    if skip_gram:
        noise = jax.random.uniform(picks, bags.shape, jnp.float32)
        pick = jnp.argmax(jnp.where(there, noise, -1.0), -1)
        bags = jnp.take_along_axis(bags, pick[:, None], -1)
    elif buckets:
        after, reached = at(offsets + 1)
        pair = there & reached & (offsets != -1)
        mixed = words.astype(jnp.uint32) * 116049371 + after.astype(jnp.uint32)
        hashed = len(data.shares.other) + (mixed % buckets).astype(jnp.int32)
        bags = jnp.concatenate([bags, jnp.where(pair, hashed, -1)], -1)
    return {
        "bags": bags,
        "targets": data.words[places],
        "negatives": draw(data.shares, draws, (negatives, len(places))),
    }


def _for_clients(
    data: TextData, key: Array, step: Array, one: Callable, **options: Any
) -> dict[str, Array]:
    keys = layout.client_keys(key, len(data.words))
    return jax.vmap(functools.partial(one, **options), (0, 0, None))(data, keys, step)


def _stack(parts: Sequence[np.ndarray], fill: int) -> Array:
    most = max(map(len, parts))
    stacked = np.full((len(parts), most, *parts[0].shape[1:]), fill, parts[0].dtype)
    for row, part in zip(stacked, parts, strict=True):
        row[: len(part)] = part
    return jnp.asarray(stacked)
