"""Static vectors that are read off a teacher without training: aggregated and decontextualized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jcollab import checks
from jcollab.text.contexts import SENTENCE_LENGTH, Occurrences, occurrences, pool_pieces
from jcollab.text.teacher import Teacher
from jcollab.text.vectors import WordVectors


def aggregate(
    teacher: Teacher,
    sentences: Sequence[Sequence[str]],
    words: Sequence[str],
    *,
    layer: int = -1,
    pieces: str = "mean",
    max_length: int = SENTENCE_LENGTH,
    cache: Any = None,
    progress: Any = True,
) -> WordVectors:
    """ASE: the mean of a word's vectors over all its occurrences.

        w = (1/|O_w|) sum_{(s, i) in O_w} f(h^l of the pieces of word i of s)

    Args:
        teacher: a frozen encoder.
        sentences: of words.
        words: that get a vector; those that do not occur get that of the bare word.
        layer: l, 0 for the embeddings, -1 for the last.
        pieces: f: mean, min, max or last.
        max_length: as for :func:`jcollab.text.sentence_contexts`.
        cache: as for :func:`jcollab.text.sentence_contexts`.
        progress: as for :func:`jcollab.text.sentence_contexts`.

    Raises:
        ValueError: if there is no sentence or word, or pieces is something else.

    Source: Bommasani, Davis and Cardie 2020, ACL.
    """
    statistics, _ = occurrences(
        teacher, sentences, layer=layer, pieces=pieces, max_length=max_length, cache=cache,
        progress=progress,
    )  # fmt: skip
    return aggregated(statistics, words, teacher, layer=layer, pieces=pieces)


def aggregated(
    statistics: Occurrences,
    words: Sequence[str],
    teacher: Teacher,
    *,
    layer: int = -1,
    pieces: str = "mean",
) -> WordVectors:
    """:func:`aggregate` of sums that are there already."""
    words = checks.texts("words", words)
    ids = {str(word): i for i, word in enumerate(statistics.words)}
    missing = [word for word in words if word not in ids]
    bare: dict[str, np.ndarray] = {}
    if missing:
        alone = decontextualized(teacher, missing, layer=layer, pieces=pieces)
        bare = dict(zip(missing, alone.table, strict=True))
    means = statistics.sums / statistics.counts[:, None]
    table = [means[ids[word]] if word in ids else bare[word] for word in words]
    return WordVectors(tuple(words), np.stack(table))


def decontextualized(
    teacher: Teacher, words: Sequence[str], *, layer: int = -1, pieces: str = "mean"
) -> WordVectors:
    """The teacher's vector of a word that it reads alone: ``w = f(pieces of [CLS] w [SEP])``.

    Args:
        teacher: a frozen encoder.
        words: that get a vector.
        layer: as for :func:`aggregate`.
        pieces: as for :func:`aggregate`; a word of which the tokenizer keeps nothing gets 0.

    Raises:
        ValueError: if there is no word.
    """
    words = checks.texts("words", words)
    if not words:
        raise ValueError("words must be at least one, got none")
    pool = pool_pieces(pieces)
    table = np.zeros((len(words), teacher.width), np.float32)
    for row, piece, hidden in teacher.states(words, layers=(layer,)):
        real = piece.words >= 0
        if real.any():
            table[row] = pool(hidden[real], np.zeros(1, int))[0]
    return WordVectors(tuple(words), table)
