"""Context vectors of a corpus from a frozen teacher, with a cache of completed parts."""

from __future__ import annotations

import hashlib
import itertools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jcollab import checks
from jcollab.text.reader import ENDS, split_sentences
from jcollab.text.teacher import SENTENCE_LENGTH, Pieces, Teacher
from jcollab.training.listeners import progress_bar

PARAGRAPH_LENGTH = 500
TEXTS_PER_PART = 1024
Texts = Sequence[Sequence[str]]
BOUNDARIES = ("words", "pieces")


class Occurrences(NamedTuple):
    """Sums of the vectors of each word over its occurrences.

    Attributes:
        words: U different words, sorted.
        sums: sum of the vectors of each word, ``[U, d]``.
        counts: number of occurrences of each word, int ``[U]``.
    """

    words: np.ndarray
    sums: np.ndarray
    counts: np.ndarray


def sentence_contexts(
    teacher: Teacher,
    sentences: Texts,
    *,
    max_length: int = SENTENCE_LENGTH,
    cache: str | os.PathLike | None = None,
    progress: Any = True,
) -> np.ndarray:
    """Computes the context vector of each sentence, encoded alone.

        c_s = (1/L_s) sum_i h_i,    over all pieces, with [CLS] and [SEP]

    Args:
        teacher: a frozen encoder.
        sentences: S lists of words.
        max_length: longest sentence in pieces; longer sentences are truncated.
        cache: folder for the results of completed parts. A later call with the same teacher and
            options reads them, after an interruption or for a longer corpus. None for no cache.
        progress: whether to show a progress bar, or a rich Progress to add it to.

    Returns:
        float32 ``[S, d]``.

    Raises:
        TypeError: if a sentence is not a list of words; the message gives its position.
        ValueError: if there are no sentences, or a word contains white space.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> sentences = [["the", "cat"], ["a", "mat", "."], ["the", "cat"]]
        >>> contexts = jc.text.sentence_contexts(teacher, sentences, progress=False)
        >>> contexts.shape, bool(np.allclose(contexts[0], contexts[2], atol=1e-5))
        ((3, 16), True)

    Source: Gupta and Jaggi 2021, arXiv 2106.04302.
    """

    def mean(pieces: Pieces, hidden: np.ndarray, words: Sequence[str]) -> np.ndarray:
        return hidden.mean(0, keepdims=True)

    parts = _parts(teacher, sentences, mean, ("sentence", max_length), max_length, cache, progress)
    return np.concatenate([part["vectors"] for part in parts])


def paragraph_contexts(
    teacher: Teacher,
    paragraphs: Texts,
    *,
    max_length: int = PARAGRAPH_LENGTH,
    boundaries: str = "words",
    cache: str | os.PathLike | None = None,
    progress: Any = True,
) -> np.ndarray:
    """Computes the context vector of each sentence, encoded with its whole paragraph.

        c_{p,k} = mean of h_i over the pieces of sentence k of paragraph p

    [CLS] is not part of a sentence. [SEP] is part of the last sentence if that sentence does not
    end with ``.``, ``?`` or ``!``.

    Args:
        teacher: a frozen encoder.
        paragraphs: lists of words; a sentence ends with each ``.``, ``?`` or ``!``.
        max_length: longest paragraph in pieces; longer paragraphs are truncated. A sentence after
            the truncation gets the vector of the last sentence before it.
        boundaries: ``"words"`` ends sentences at words; ``"pieces"`` ends them at pieces, as the
            released code does. The pieces of ``u.s.`` then end two sentences, and the following
            sentences of the paragraph do not match those of the targets.
        cache: as for :func:`sentence_contexts`.
        progress: as for :func:`sentence_contexts`.

    Returns:
        float32 ``[S, d]``, where S is the number of sentences of all paragraphs.

    Raises:
        TypeError: if a paragraph is not a list of words; the message gives its position.
        ValueError: if there are no paragraphs, a word contains white space, or boundaries is
            unknown.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> paragraphs = [["a", "cat", ".", "a", "mat", "."], ["the", "cat"]]
        >>> jc.text.paragraph_contexts(teacher, paragraphs, progress=False).shape
        (3, 16)

    Source: Gupta and Jaggi 2021, arXiv 2106.04302.
    """
    checks.one_of("boundaries", boundaries, BOUNDARIES)

    def spans(pieces: Pieces, hidden: np.ndarray, words: Sequence[str]) -> np.ndarray:
        # as many rows as sentences of words, even if a truncated text has fewer spans: targets
        # look up the row of their sentence
        number = len(split_sentences(words))
        cuts = (
            piece_boundaries(pieces) if boundaries == "pieces" else word_boundaries(pieces, words)
        )
        return np.stack(
            [hidden[slice(*cuts[min(k, len(cuts) - 1)])].mean(0) for k in range(number)]
        )

    options = ("paragraph", max_length, boundaries)
    parts = _parts(teacher, paragraphs, spans, options, max_length, cache, progress)
    return np.concatenate([part["vectors"] for part in parts])


def word_boundaries(pieces: Pieces, words: Sequence[str]) -> list[tuple[int, int]]:
    """Spans ``[first, last + 1)`` of pieces of each sentence; the span before if it has none."""
    ends = np.cumsum([0] + [word in ENDS for word in words])  # sentence of each word
    real = np.flatnonzero(pieces.words >= 0)
    if not len(real):
        return [(0, len(pieces.ids))]
    sentence = ends[pieces.words[real]]
    # sentences without pieces at the start have no span before them: they use the first span
    spans = [(int(real[0]), int(real[sentence == sentence[0]][-1]) + 1)] * (sentence[0] + 1)
    for k in range(sentence[0] + 1, sentence[-1] + 1):
        own = real[sentence == k]
        spans.append((int(own[0]), int(own[-1]) + 1) if len(own) else spans[-1])
    if words[int(pieces.words[real[-1]])] not in ENDS:
        spans[-1] = (spans[-1][0], len(pieces.ids))
    return spans


def piece_boundaries(pieces: Pieces) -> list[tuple[int, int]]:
    """Spans of pieces that end at ``.``, ``?`` and ``!``, and the rest of the text."""
    stops = [i + 1 for i, token in enumerate(pieces.tokens) if token in ENDS]
    # from 1 on, which omits [CLS]; the rest includes [SEP]
    cuts = [1, *stops, len(pieces.ids)]
    return [(a, b) for a, b in itertools.pairwise(cuts) if b > a]


def occurrences(
    teacher: Teacher,
    sentences: Texts,
    *,
    layer: int = -1,
    pieces: str = "mean",
    max_length: int = SENTENCE_LENGTH,
    cache: str | os.PathLike | None = None,
    progress: Any = True,
) -> tuple[Occurrences, np.ndarray]:
    """Sums the vectors of each word over its occurrences, and computes sentence contexts.

    Args:
        teacher: a frozen encoder.
        sentences: S lists of words.
        layer: index of the layer of the vectors, 0 for the embeddings, -1 for the last layer.
        pieces: reduction of the vectors of a word's pieces to one vector: ``"mean"``, ``"min"``,
            ``"max"`` or ``"last"``.
        max_length: as for :func:`sentence_contexts`.
        cache: as for :func:`sentence_contexts`.
        progress: as for :func:`sentence_contexts`.

    Returns:
        The sums, and the mean of that layer over the pieces of each sentence, float32 ``[S, d]``.
        For the last layer, the means equal the result of :func:`sentence_contexts`.

    Raises:
        TypeError: if a sentence is not a list of words; the message gives its position.
        ValueError: if there are no sentences, a word contains white space, or pieces is unknown.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> sentences = [["cat", "cat"], ["mat"]]
        >>> statistics, contexts = jc.text.occurrences(teacher, sentences, progress=False)
        >>> statistics.words.tolist(), statistics.counts.tolist()
        (['cat', 'mat'], [2, 1])
    """
    pool = pool_pieces(pieces)

    # one pass of the teacher, the expensive part, for both results
    def both(piece: Pieces, hidden: np.ndarray, words: Sequence[str]) -> tuple:
        real = np.flatnonzero(piece.words >= 0)
        starts = np.flatnonzero(np.diff(piece.words[real], prepend=-1))
        row_words = [words[i] for i in piece.words[real][starts]]
        return hidden.mean(0, keepdims=True), row_words, pool(hidden[real], starts)

    options = ("occurrences", max_length, layer, pieces)
    parts = _parts(teacher, sentences, both, options, max_length, cache, progress, layers=(layer,))
    return _merge(parts), np.concatenate([part["vectors"] for part in parts])


def _merge(parts: list[dict[str, np.ndarray]]) -> Occurrences:
    # parts list a word separately; their sums are added here, in float32 and in order of the parts
    words = np.concatenate([part["words"] for part in parts])
    unique, place = np.unique(words, return_inverse=True)
    sums = np.zeros((len(unique), parts[0]["sums"].shape[1]), np.float32)
    counts = np.zeros(len(unique), np.int64)
    np.add.at(sums, place, np.concatenate([part["sums"] for part in parts]))
    np.add.at(counts, place, np.concatenate([part["counts"] for part in parts]))
    return Occurrences(unique, sums, counts)


def pool_pieces(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns a reduction of the pieces of a text to one vector per word, from the word starts."""
    if name not in ("mean", "min", "max", "last"):
        raise ValueError(f"pieces must be one of mean, min, max, last, got {name!r}")

    def pool(hidden: np.ndarray, starts: np.ndarray) -> np.ndarray:
        if not len(starts):
            return hidden[:0]
        ends = np.append(starts[1:], len(hidden))
        if name == "last":
            return hidden[ends - 1]
        ufunc = {"mean": np.add, "min": np.minimum, "max": np.maximum}[name]
        reduced = ufunc.reduceat(hidden, starts)
        return reduced / (ends - starts)[:, None] if name == "mean" else reduced

    return pool


def _parts(
    teacher: Teacher,
    texts: Texts,
    read: Callable,
    options: tuple,
    max_length: int,
    cache: str | os.PathLike | None,
    progress: Any,
    layers: tuple[int, ...] = (-1,),
) -> list[dict[str, np.ndarray]]:
    """Computes ``read`` for each text, part by part; complete parts are stored in the cache."""
    if not len(texts):
        raise ValueError("texts must contain at least one text, got an empty corpus")
    done = []
    # parts of a fixed size: a corpus that grows at its end keeps its earlier cache files
    with progress_bar(progress) as bar:
        task = bar.add_task(f"teacher, {options[0]}", total=len(texts))
        for start in range(0, len(texts), TEXTS_PER_PART):
            some = enumerate(texts[start : start + TEXTS_PER_PART], start)
            part = [_joined(i, words) for i, words in some]
            file = None if cache is None else _file(cache, teacher, options, part)
            if file is not None and file.exists():
                with np.load(file) as stored:
                    done.append(dict(stored))
                bar.advance(task, len(part))
                continue
            # the teacher yields texts in order of length; rows restore the order of the corpus
            rows: list[Any] = [None] * len(part)
            for row, pieces, hidden in teacher.states(part, max_length=max_length, layers=layers):
                rows[row] = read(pieces, hidden, texts[start + row])
                bar.advance(task)
            done.append(_packed(rows))
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                # written to a file of this process and renamed, which is atomic: other processes
                # and later runs never read a file that is incomplete
                unfinished = file.with_suffix(f".{os.getpid()}.part")
                with unfinished.open("wb") as stream:
                    np.savez(stream, **done[-1])
                os.replace(unfinished, file)
    return done


def _joined(i: int, words: Sequence[str]) -> str:
    """Joins words with spaces; the teacher splits the text at white space into the same words."""
    listed = checks.texts(f"texts[{i}]", words)
    if (text := " ".join(listed)).split() != listed:
        bad = next(word for word in listed if word.split() != [word])
        raise ValueError(f"texts[{i}] must be words without white space, got {bad!r}")
    return text


def _packed(rows: list[Any]) -> dict[str, np.ndarray]:
    """The results of the texts of a part as arrays that a cache file can store."""
    if isinstance(rows[0], np.ndarray):
        return {"vectors": np.concatenate(rows)}
    words = [word for _, row_words, _ in rows for word in row_words]
    unique, place = np.unique(np.array(words, dtype=np.str_), return_inverse=True)
    vectors = np.concatenate([each for _, _, each in rows])
    # sorted by word, the occurrences of a word are one segment, as `reduceat` requires; no segment
    # is empty, because each unique word occurs
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=len(unique))
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(vectors[order], starts) if len(words) else vectors
    contexts = np.concatenate([context for context, _, _ in rows])
    return {"vectors": contexts, "words": unique, "sums": sums, "counts": counts}


def _file(
    cache: str | os.PathLike, teacher: Teacher, options: tuple, part: list[str]
) -> pathlib.Path:
    # the name is a hash of the weights, the options and the texts: a change of any is a new file
    name = hashlib.sha256(f"{teacher.fingerprint}{options}".encode())
    for text in part:
        name.update(text.encode() + b"\n")
    return pathlib.Path(cache) / f"{name.hexdigest()[:32]}.npz"
