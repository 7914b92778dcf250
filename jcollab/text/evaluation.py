"""How good word vectors are: similarity of words, analogies, and classes of sentences."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from jcollab import checks
from jcollab.text.reader import existing
from jcollab.text.vectors import WordVectors

Pairs = Sequence[tuple[str, str, float]]


class Similarity(NamedTuple):
    """Agreement with people on the similarity of words.

    Attributes:
        spearman: rank correlation over the known pairs; NaN for fewer than two.
        num_known: pairs of which both words are known.
        total: all pairs.
    """

    spearman: float
    num_known: int
    total: int


class Analogies(NamedTuple):
    """Share of analogies that were right.

    Attributes:
        accuracy: over the known ones; NaN for none.
        num_known: questions of which all four words are known.
        total: all questions.
    """

    accuracy: float
    num_known: int
    total: int


def read_pairs(path: str | os.PathLike) -> list[tuple[str, str, float]]:
    """Pairs of words with a score, from lines ``w1 <white space> w2 <white space> score``.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: naming a line that is none.
    """
    file = existing(path)
    pairs = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            left, right, score = parts
            pairs.append((left, right, float(score)))
        except ValueError as error:
            raise ValueError(
                f"line {number} of {file} must be two words and a score, got {line!r}"
            ) from error
    return pairs


def word_similarity(vectors: WordVectors, pairs: Pairs) -> Similarity:
    """Spearman's correlation of cosines with the scores that people gave.

    Words are lower-cased; pairs with an unknown word are left out and counted.

    Args:
        vectors: to be judged.
        pairs: ``(word, word, score)``.

    Raises:
        ValueError: if there is no pair.

    Source: evaluation as in Conneau et al. 2018 (MUSE), arXiv 1710.04087.
    """
    if not pairs:
        raise ValueError("pairs must be at least one, got none")
    known = [
        (vectors.similarity(a, b), score)
        for a, b, score in ((a.lower(), b.lower(), score) for a, b, score in pairs)
        if a in vectors and b in vectors
    ]
    correlation = float("nan")
    if len(known) > 1:
        correlation = float(scipy.stats.spearmanr(*zip(*known, strict=True)).statistic)
    return Similarity(correlation, len(known), len(pairs))


def read_analogies(path: str | os.PathLike) -> list[tuple[str, str, str, str]]:
    """Questions "a is to b as c is to d" from a CSV file whose last four columns are the words.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: naming a line with fewer columns.
    """
    file = existing(path)
    questions = []
    with file.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.reader(stream), 1):
            if len(row) < 4:
                raise ValueError(f"line {number} of {file} must have four words, got {row}")
            a, b, c, d = (word.lower() for word in row[-4:])
            questions.append((a, b, c, d))
    return questions


def word_analogies(
    vectors: WordVectors, questions: Sequence[tuple[str, str, str, str]], chunk: int = 512
) -> Analogies:
    """Share of questions whose answer is the word of largest cosine with ``b - a + c``.

    Args:
        vectors: to be judged.
        questions: ``(a, b, c, d)``; those with an unknown word are left out and counted.
        chunk: questions that are answered at a time.

    Raises:
        ValueError: if there is no question.
    """
    if not len(questions):
        raise ValueError("questions must be at least one, got none")
    known = np.array([[vectors.ids.get(word, -1) for word in question] for question in questions])
    known = known[(known >= 0).all(1)]
    right = 0
    for start in range(0, len(known), chunk):
        part = known[start : start + chunk]
        a, b, c = (vectors.directions[part[:, i]] for i in range(3))
        scores = (b - a + c) @ vectors.directions.T
        np.put_along_axis(scores, part[:, :3], -np.inf, 1)
        right += int((scores.argmax(1) == part[:, 3]).sum())
    return Analogies(right / len(known) if len(known) else float("nan"), len(known), len(questions))


def classify_sentences(
    vectors: WordVectors,
    train: tuple[Sequence[Sequence[str]], Sequence[str]],
    test: tuple[Sequence[Sequence[str]], Sequence[str]],
    *,
    inverse_penalty: float = 1.0,
) -> float:
    """Accuracy of a logistic regression on mean vectors of sentences.

    Args:
        vectors: to be judged; they stay as they are.
        train: sentences, of words, and their labels.
        test: likewise.
        inverse_penalty: inverse weight of the L2 penalty (C of scikit-learn), positive.

    Raises:
        ValueError: if sentences and labels differ in number, or inverse_penalty is not positive.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    checks.number("inverse_penalty", inverse_penalty, above=0)
    for name, (sentences, labels) in (("train", train), ("test", test)):
        if len(sentences) != len(labels) or not len(labels):
            raise ValueError(
                f"{name} must hold a label for each sentence, got {len(sentences)} sentences and "
                f"{len(labels)} labels"
            )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=1000))
    x, y = (np.stack([vectors.mean(s) for s in part[0]]) for part in (train, test))
    return float(model.fit(x, np.asarray(train[1])).score(y, np.asarray(test[1])))
