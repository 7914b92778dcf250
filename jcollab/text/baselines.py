"""Static word vectors computed from a teacher without training."""

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
    """Computes ASE vectors: the mean of the teacher's vectors of a word over its occurrences.

        w = (1/|O_w|) sum_{(s, i) in O_w} f(h^l of the pieces of word i of s)

    O_w are the occurrences of the word w, as pairs of a sentence s and a position i.

    Args:
        teacher: a frozen encoder.
        sentences: lists of words.
        words: words of the result; a word that does not occur gets the vector of
            :func:`decontextualized`.
        layer: l, 0 for the embeddings, -1 for the last layer.
        pieces: f, ``"mean"``, ``"min"``, ``"max"`` or ``"last"``.
        max_length: as for :func:`jcollab.text.sentence_contexts`.
        cache: as for :func:`jcollab.text.sentence_contexts`.
        progress: as for :func:`jcollab.text.sentence_contexts`.

    Raises:
        ValueError: if there are no sentences or words, or pieces is unknown.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> sentences = [["the", "cat"], ["a", "cat"]]
        >>> vectors = jc.text.aggregate(teacher, sentences, ["cat", "mat"], progress=False)
        >>> vectors.words, vectors.table.shape
        (('cat', 'mat'), (2, 16))

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
    """Computes :func:`aggregate` from sums that :func:`occurrences` has computed.

    Args:
        statistics: sums and counts of the occurrences.
        words: as for :func:`aggregate`.
        teacher: the frozen encoder of the sums.
        layer: the layer of the sums.
        pieces: the reduction of the sums.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> sentences = [["the", "cat"], ["a", "cat"]]
        >>> statistics, _ = jc.text.occurrences(teacher, sentences, progress=False)
        >>> vectors = jc.text.aggregated(statistics, ["cat"], teacher)
        >>> statistics.words.tolist()[1], bool(np.allclose(vectors["cat"], statistics.sums[1] / 2))
        ('cat', True)
    """
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
    """Computes the teacher's vector of each word alone, ``w = f(pieces of [CLS] w [SEP])``.

    Args:
        teacher: a frozen encoder.
        words: words of the result; a word without pieces gets 0.
        layer: as for :func:`aggregate`.
        pieces: as for :func:`aggregate`.

    Raises:
        ValueError: if there are no words, or pieces is unknown.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> jc.text.decontextualized(teacher, ["cat", "mat"]).table.shape
        (2, 16)
    """
    words = checks.texts("words", words)
    if not words:
        raise ValueError("words must contain at least one word, got none")
    pool = pool_pieces(pieces)
    table = np.zeros((len(words), teacher.width), np.float32)
    for row, piece, hidden in teacher.states(words, layers=(layer,)):
        real = piece.words >= 0
        if real.any():
            table[row] = pool(hidden[real], np.zeros(1, int))[0]
    return WordVectors(tuple(words), table)
