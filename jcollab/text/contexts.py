"""Context vectors of a corpus by a frozen teacher: computed once, kept, and taken up again."""

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
    """Sums over the occurrences of words.

    Attributes:
        words: each once.
        sums: of their vectors, ``[U, d]``.
        counts: int ``[U]``.
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
    """One vector for each sentence, from the sentence alone.

        c_s = (1/L_s) sum_i h_i,    over all pieces, [CLS] and [SEP] too

    Args:
        teacher: a frozen encoder.
        sentences: of words.
        max_length: most pieces of a sentence.
        cache: folder to which parts are written as they are done; a run that was cut short, or
            one on more text, takes them from there. None for none.
        progress: whether to show a bar, or a rich Progress to add it to.

    Returns:
        float32 ``[S, d]``.

    Raises:
        TypeError: if a sentence is no list of words, with its place.
        ValueError: if there is no sentence, or white space is in a word.

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
    """One vector for each sentence of each paragraph, which the teacher reads as a whole.

        c_{p,k} = mean of h_i over the pieces of sentence k of paragraph p

    [CLS] is in no sentence; [SEP] counts as a piece of a last sentence without a mark at its end.

    Args:
        teacher: a frozen encoder.
        paragraphs: of words; a sentence ends with each ``.``, ``?`` or ``!``.
        max_length: most pieces of a paragraph; a sentence beyond gets the vector of the last one
            that is there.
        boundaries: ``"words"`` ends sentences at words; ``"pieces"`` at pieces, as the released
            code does, where ``u.s.`` makes two sentences that are then counted differently from
            those of the targets.
        cache: as for :func:`sentence_contexts`.
        progress: as for :func:`sentence_contexts`.

    Returns:
        float32 ``[S, d]``, S the number of all sentences.

    Raises:
        TypeError: if a paragraph is no list of words, with its place.
        ValueError: if there is no paragraph, white space is in a word, or boundaries is something
            else.

    Source: Gupta and Jaggi 2021, arXiv 2106.04302.
    """
    checks.one_of("boundaries", boundaries, BOUNDARIES)

    def spans(pieces: Pieces, hidden: np.ndarray, words: Sequence[str]) -> np.ndarray:
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
    """First piece of each sentence and the one after its last; without any, those before it."""
    ends = np.cumsum([0] + [word in ENDS for word in words])  # sentence of each word
    real = np.flatnonzero(pieces.words >= 0)
    if not len(real):
        return [(0, len(pieces.ids))]
    sentence = ends[pieces.words[real]]
    spans = [(int(real[0]), int(real[sentence == sentence[0]][-1]) + 1)] * (sentence[0] + 1)
    for k in range(sentence[0] + 1, sentence[-1] + 1):
        own = real[sentence == k]
        spans.append((int(own[0]), int(own[-1]) + 1) if len(own) else spans[-1])
    if words[int(pieces.words[real[-1]])] not in ENDS:
        spans[-1] = (spans[-1][0], len(pieces.ids))
    return spans


def piece_boundaries(pieces: Pieces) -> list[tuple[int, int]]:
    """Spans that end at the pieces ``.``, ``?`` and ``!``; then comes what is left."""
    stops = [i + 1 for i, token in enumerate(pieces.tokens) if token in ENDS]
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
    """Sums of the teacher's vectors over the occurrences of each word, and contexts in passing.

    Args:
        teacher: a frozen encoder.
        sentences: of words.
        layer: whose vectors are added up.
        pieces: how those of a word's pieces become one: mean, min, max or last.
        max_length: as for :func:`sentence_contexts`.
        cache: as for :func:`sentence_contexts`.
        progress: as for :func:`sentence_contexts`.

    Returns:
        The sums, and float32 ``[S, d]``, the mean of that layer over each sentence: for the last
        layer what :func:`sentence_contexts` gives.

    Raises:
        TypeError: if a sentence is no list of words, with its place.
        ValueError: if there is no sentence, white space is in a word, or pieces is something else.
    """
    pool = pool_pieces(pieces)

    def both(piece: Pieces, hidden: np.ndarray, words: Sequence[str]) -> tuple:
        real = np.flatnonzero(piece.words >= 0)
        starts = np.flatnonzero(np.diff(piece.words[real], prepend=-1))
        row_words = [words[i] for i in piece.words[real][starts]]
        return hidden.mean(0, keepdims=True), row_words, pool(hidden[real], starts)

    options = ("occurrences", max_length, layer, pieces)
    parts = _parts(teacher, sentences, both, options, max_length, cache, progress, layers=(layer,))
    return _merge(parts), np.concatenate([part["vectors"] for part in parts])


def _merge(parts: list[dict[str, np.ndarray]]) -> Occurrences:
    words = np.concatenate([part["words"] for part in parts])
    unique, place = np.unique(words, return_inverse=True)
    sums = np.zeros((len(unique), parts[0]["sums"].shape[1]), np.float32)
    counts = np.zeros(len(unique), np.int64)
    np.add.at(sums, place, np.concatenate([part["sums"] for part in parts]))
    np.add.at(counts, place, np.concatenate([part["counts"] for part in parts]))
    return Occurrences(unique, sums, counts)


def pool_pieces(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Function of the pieces of a text and where words start, for one vector per word."""
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
    """Results of ``read`` by parts of the corpus; a part's file is named by all it depends on."""
    if not len(texts):
        raise ValueError("texts must be at least one, got an empty corpus")
    done = []
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
            rows: list[Any] = [None] * len(part)
            for row, pieces, hidden in teacher.states(part, max_length=max_length, layers=layers):
                rows[row] = read(pieces, hidden, texts[start + row])
                bar.advance(task)
            done.append(_packed(rows))
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                unfinished = file.with_suffix(f".{os.getpid()}.part")
                with unfinished.open("wb") as stream:
                    np.savez(stream, **done[-1])
                os.replace(unfinished, file)
    return done


def _joined(i: int, words: Sequence[str]) -> str:
    """The text of words, which the teacher takes apart at white space again."""
    listed = checks.texts(f"texts[{i}]", words)
    if (text := " ".join(listed)).split() != listed:
        bad = next(word for word in listed if word.split() != [word])
        raise ValueError(f"texts[{i}] must be words without white space, got {bad!r}")
    return text


def _packed(rows: list[Any]) -> dict[str, np.ndarray]:
    if isinstance(rows[0], np.ndarray):
        return {"vectors": np.concatenate(rows)}
    words = [word for _, row_words, _ in rows for word in row_words]
    unique, place = np.unique(np.array(words, dtype=np.str_), return_inverse=True)
    vectors = np.concatenate([each for _, _, each in rows])
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=len(unique))
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(vectors[order], starts) if len(words) else vectors
    contexts = np.concatenate([context for context, _, _ in rows])
    return {"vectors": contexts, "words": unique, "sums": sums, "counts": counts}


def _file(
    cache: str | os.PathLike, teacher: Teacher, options: tuple, part: list[str]
) -> pathlib.Path:
    name = hashlib.sha256(f"{teacher.fingerprint}{options}".encode())
    for text in part:
        name.update(text.encode() + b"\n")
    return pathlib.Path(cache) / f"{name.hexdigest()[:32]}.npz"
