"""Batches for word vectors: occurrences of words, target words, contexts and negatives.

Batches are gathered on the device, inside the compiled run, from arrays of all clients.
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
    """The occurrences of the words of a vocabulary in a text, in order.

    Attributes:
        words: index of the word of each occurrence, int32 ``[M]``.
        sentences: index of the sentence of each occurrence, int32 ``[M]``, increasing.
    """

    words: np.ndarray
    sentences: np.ndarray


class TextData(NamedTuple):
    """Texts of n clients, from which batches are gathered.

    Attributes:
        words: index of the word of each occurrence, int32 ``[n, M]``; -1 is padding.
        sentences: index of the sentence of each occurrence, int32 ``[n, M]``; -1 is padding.
        positions: positions of the targets of each round among the occurrences, int32
            ``[n, R, T]``.
        shares: alias table of the negatives, leaves ``[n, V]``.
        contexts: context vectors of the sentences, ``[n, S, d]``; ``[n, 0, 0]`` without a teacher.
    """

    words: Any
    sentences: Any
    positions: Any
    shares: Alias
    contexts: Any


def index_corpus(sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> Corpus:
    """Returns the occurrences of the words of a vocabulary in sentences, read one at a time.

    Words outside the vocabulary are dropped.

    Raises:
        TypeError: if a sentence is not a list of words; the message gives its position.
        ValueError: if no word of the vocabulary occurs.

    Example:
        >>> sentences = [["the", "cat"], ["a", "cat"]]
        >>> vocabulary = jc.text.Vocabulary(("cat", "the"), np.array([2, 1]))
        >>> corpus = jc.text.index_corpus(sentences, vocabulary)
        >>> corpus.words.tolist(), corpus.sentences.tolist()
        ([1, 0, 0], [0, 0, 1])
    """
    tokens, numbers = [], []
    for number, sentence in enumerate(sentences):
        ids = vocabulary.index(checks.texts(f"sentences[{number}]", sentence))
        ids = ids[ids >= 0]
        tokens.append(ids)
        numbers.append(np.full(len(ids), number, np.int32))
    if not sum(map(len, tokens)):
        raise ValueError("sentences must contain at least one word of the vocabulary, got none")
    return Corpus(np.concatenate(tokens), np.concatenate(numbers))


def schedule(
    corpus: Corpus,
    drop: np.ndarray,
    *,
    batch_size: int,
    epochs: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Chooses the occurrences that are targets in each round.

    Each epoch drops each occurrence independently with the probability of its word, and shuffles
    the sentences; the occurrences of a sentence stay together.

    Args:
        corpus: occurrences of one client.
        drop: probability of each word to be dropped, ``[V]``.
        batch_size: T, targets in a round.
        epochs: number of passes through the corpus.
        rng: NumPy generator.

    Returns:
        Positions in the corpus, int32 ``[R, T]``; the first positions complete the last round.

    Raises:
        ValueError: if a number is not positive, or all occurrences are dropped.

    Example:
        >>> corpus = jc.text.Corpus(np.array([0, 1, 0]), np.array([0, 0, 1]))
        >>> rng = np.random.default_rng(0)
        >>> rounds = jc.text.schedule(corpus, np.zeros(2), batch_size=2, epochs=2, rng=rng)
        >>> rounds.shape, np.bincount(rounds.ravel()).tolist()
        ((3, 2), [2, 2, 2])
    """
    checks.counts(batch_size=batch_size, epochs=epochs)
    kept = []
    for _ in range(epochs):
        places = np.flatnonzero(rng.random(len(corpus.words)) >= drop[corpus.words])
        order = rng.permutation(corpus.sentences.max() + 1)
        # a stable sort keeps the order inside of a sentence: the targets of a sentence are
        # adjacent in a batch, which `sentences_per_batch` relies on
        kept.append(places[np.argsort(order[corpus.sentences[places]], kind="stable")])
    places = np.concatenate(kept).astype(np.int32)
    if not len(places):
        raise ValueError("drop must keep at least one occurrence, got none")
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
    """Stacks the corpora of n clients, with one vocabulary and one distribution of negatives.

    Args:
        corpora: one corpus for each client.
        vocabulary: vocabulary of all clients.
        threshold: t of :func:`jcollab.text.drop_probability`.
        batch_size: T, targets of a client in a round.
        epochs: number of passes through each corpus; the rounds of a client with less text are
            repeated until all clients have equally many.
        contexts: context vectors of the sentences of each corpus, ``[S_i, d]``; None without a
            teacher.
        power: power of :func:`jcollab.text.negative_shares`.
        seed: seed of the dropped occurrences and of the order of sentences.

    Raises:
        ValueError: if there are no corpora, the numbers of corpora and contexts differ, or a
            sentence has no context.

    Example:
        >>> sentences = [["the", "cat"], ["a", "cat"]]
        >>> vocabulary = jc.text.build_vocabulary(sentences, min_count=1)
        >>> corpora = [jc.text.index_corpus([words], vocabulary) for words in sentences]
        >>> options = {"threshold": 1.0, "batch_size": 2, "epochs": 3}
        >>> jc.text.client_texts(corpora, vocabulary, **options).positions.shape
        (2, 3, 2)
    """
    if not corpora:
        raise ValueError("corpora must contain at least one corpus, got none")
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
    rounds = max(map(len, plans))  # np.resize below repeats the rounds of shorter plans
    positions = np.stack([np.resize(plan, (rounds, batch_size)) for plan in plans])
    shares = alias(shares_of(vocabulary.counts, power))
    shares = replicate(shares, len(corpora))
    empty = [np.zeros((0, 0), np.float32)] * len(corpora)
    return TextData(
        # -1 is the index of no sentence, so that no window extends into the padding
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
    """Builds batches of contexts, targets and negatives for X2Static.

    They are the batches of :func:`jcollab.objectives.x2static_loss`.

    Args:
        data: texts of n clients.
        negatives: N, negatives of a target.
        most_sentences: L, the result of :func:`sentences_per_batch`. A batch then contains the
            context of a sentence once, for all of its targets. None repeats the context for each
            target.
        shared: whether the targets of a sentence share their negatives. In the paper, each target
            has its own negatives. Requires most_sentences.

    Raises:
        ValueError: if a number is below 1, or shared is true without most_sentences.

    Example:
        >>> vocabulary = jc.text.Vocabulary(("cat", "the"), np.array([2, 1]))
        >>> corpus = jc.text.index_corpus([["the", "cat"], ["a", "cat"]], vocabulary)
        >>> options = {"threshold": 1.0, "batch_size": 3, "epochs": 1, "contexts": [np.eye(2)]}
        >>> data = jc.text.client_texts([corpus], vocabulary, **options)
        >>> batches = jc.text.x2static_batches(data, negatives=4)
        >>> batch = jax.eval_shape(batches.draw, jax.random.key(0), 0)
        >>> {name: leaf.shape for name, leaf in sorted(batch.items())}
        {'contexts': (1, 3, 2), 'negatives': (1, 4, 3), 'targets': (1, 3)}
    """
    checks.counts(negatives=negatives, most_sentences=most_sentences)
    if shared and most_sentences is None:
        raise ValueError("most_sentences must be given for shared=True, got None")
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
        # The targets of a sentence are adjacent: a new line starts where the sentence changes.
        # L is static, so that lines past the last sentence exist; no target refers to them.
        lines = jnp.cumsum(jnp.diff(sentences, prepend=sentences[:1]) != 0)
        each = jnp.zeros(most_sentences, jnp.int32).at[lines].set(sentences)
        batch |= {"contexts": data.contexts[each], "lines": lines}
        if shared:
            # a line's share of the targets is the weight of its negatives in the loss; it is 0
            # for the lines past the last sentence
            batch["shares"] = jnp.zeros(most_sentences).at[lines].add(1 / count)
            count = most_sentences
    return batch | {"negatives": draw(data.shares, key, (negatives, count))}


def sentences_per_batch(data: TextData) -> int:
    """Computes L, the largest number of sentences from which the targets of a batch come.

    A sentence counts again when its targets are not adjacent in the batch.

    Example:
        >>> vocabulary = jc.text.Vocabulary(("cat", "the"), np.array([2, 1]))
        >>> corpus = jc.text.index_corpus([["the", "cat"], ["a", "cat"]], vocabulary)
        >>> options = {"threshold": 1.0, "batch_size": 3, "epochs": 1}
        >>> jc.text.sentences_per_batch(jc.text.client_texts([corpus], vocabulary, **options))
        2
    """
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
    """Builds batches of bags, targets and negatives for CBOW, skip-gram and sent2vec.

    They are the batches of :func:`jcollab.objectives.bag_loss`.

    Args:
        data: texts of n clients.
        negatives: N, negatives of a target.
        window: largest number of words on each side of the target. For sent2vec, the length of
            the longest sentence.
        skip_gram: whether a bag is one random word of the window instead of all words.
        buckets: number of buckets to which pairs of neighboring words are hashed, rows after the
            V rows of the words; 0 for no pairs. Pairs that contain the target are omitted.
        shrink: whether the size of each window is drawn from 1..window.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> vocabulary = jc.text.Vocabulary(("a", "b", "c"), np.array([1, 1, 1]))
        >>> corpus = jc.text.index_corpus([["a", "b", "c"]], vocabulary)
        >>> options = {"threshold": 1.0, "batch_size": 3, "epochs": 1}
        >>> data = jc.text.client_texts([corpus], vocabulary, **options)
        >>> batches = jc.text.bag_batches(data, negatives=2, window=1, shrink=False)
        >>> batches.draw(jax.random.key(0), 0)["bags"].tolist()  # words before and after
        [[[-1, 1], [0, 2], [1, -1]]]
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
        # positions past the ends are clipped, as shapes are static, and marked as outside
        where = places[:, None] + shift
        inside = (where >= 0) & (where < len(data.words))
        where = jnp.clip(where, 0, len(data.words) - 1)
        same = data.sentences[where] == data.sentences[places][:, None]
        return data.words[where], inside & same & (np.abs(shift) <= size[:, None])

    words, there = at(offsets)
    bags = jnp.where(there, words, -1)
    if skip_gram:
        # the argmax of uniform noise over the valid words is a uniform choice among them; without
        # a valid word, the chosen entry of the bag is -1
        noise = jax.random.uniform(picks, bags.shape, jnp.float32)
        pick = jnp.argmax(jnp.where(there, noise, -1.0), -1)
        bags = jnp.take_along_axis(bags, pick[:, None], -1)
    elif buckets:
        after, reached = at(offsets + 1)
        # a pair starts at its offset: the pair at -1 ends at the target, and no offset is 0, where
        # the pair would start with the target
        pair = there & reached & (offsets != -1)
        # unsigned: the product wraps around modulo 2^32
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
    # by client: the draws of a client do not depend on the number of clients
    keys = layout.client_keys(key, len(data.words))
    return jax.vmap(functools.partial(one, **options), (0, 0, None))(data, keys, step)


def _stack(parts: Sequence[np.ndarray], fill: int) -> Array:
    most = max(map(len, parts))
    stacked = np.full((len(parts), most, *parts[0].shape[1:]), fill, parts[0].dtype)
    for row, part in zip(stacked, parts, strict=True):
        row[: len(part)] = part
    return jnp.asarray(stacked)
