"""How good word vectors are: similarity of words, analogies, and classes of sentences."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from jcollab import checks
from jcollab.text.files import BLANKS, Path, raw_lines
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


def read_pairs(path: Path, *, encoding: str = "utf-8") -> list[tuple[str, str, float]]:
    """Pairs of words with a score, from lines ``w1 w2 score`` parted by tabs or else by blanks.

    A first line whose third field is no number names the columns, and is left out.

    Args:
        path: of the file, maybe compressed.
        encoding: of the text.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: naming a line that is no pair, or no text in this encoding; or if there is no
            pair.
    """
    pairs = []
    for number, line in enumerate(raw_lines(path, encoding), 1):
        fields = _fields(line, 3)
        if not any(fields):
            continue
        score = _number(fields[2]) if len(fields) == 3 else None
        if score is not None and np.isfinite(score):
            pairs.append((fields[0], fields[1], score))
        elif number > 1 or len(fields) != 3 or score is not None:
            raise ValueError(f"line {number} of {path} must be two words and a score, got {line!r}")
    if not pairs:
        raise ValueError(f"path must be a file with pairs of words, got {path} without any")
    return pairs


def _fields(line: str, number: int) -> list[str]:
    """So many fields by tabs, or else fields by blanks; no-break spaces are part of words."""
    parts = line.split("\t")
    if len(parts) != number:
        parts = re.split("[ \t]+", line.strip(BLANKS))
    return [part.strip(BLANKS) for part in parts]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def word_similarity(vectors: WordVectors, pairs: Pairs) -> Similarity:
    """Spearman's correlation of cosines with the scores that people gave.

    Words are lower-cased; pairs with an unknown word are left out and counted.

    Args:
        vectors: to evaluate.
        pairs: ``(word, word, score)``.

    Raises:
        TypeError: if a pair has something else than words, with its place.
        ValueError: if there is no pair, one is no pair with a score, or a score is not finite.

    Source: evaluation as in Conneau et al. 2018 (MUSE), arXiv 1710.04087.
    """
    if not pairs:
        raise ValueError("pairs must be at least one, got none")
    for i, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 3:
            raise ValueError(f"pairs[{i}] must be two words and a score, got {pair!r}")
        checks.texts(f"pairs[{i}]", pair[:2])
        checks.number(f"pairs[{i}][2]", pair[2], finite=True)
    known = [
        (vectors.similarity(a, b), score)
        for a, b, score in ((a.lower(), b.lower(), score) for a, b, score in pairs)
        if a in vectors and b in vectors
    ]
    correlation = float("nan")
    if len(known) > 1:
        correlation = float(scipy.stats.spearmanr(*zip(*known, strict=True)).statistic)
    return Similarity(correlation, len(known), len(pairs))


def read_analogies(
    path: Path, *, header: bool | None = None, encoding: str = "utf-8"
) -> list[tuple[str, str, str, str]]:
    """Questions "a is to b as c is to d", lower-cased, one a line.

    A line with commas is one of a CSV file, whose last four columns are the words; another has the
    four words parted by blanks. Empty lines, and those that begin with a colon (the sections of
    Google's set), are left out.

    Args:
        path: of the file, maybe compressed.
        header: whether the first line names the columns. None finds out: it does if one of the
            four has a digit, as ``word1`` has.
        encoding: of the text.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: naming a line without four words, or that is no text in this encoding; or if
            there is no question.
    """
    questions = []
    for number, line in enumerate(raw_lines(path, encoding), 1):
        if not line.strip(BLANKS) or line.startswith(":"):
            continue
        row = next(csv.reader([line])) if "," in line else _fields(line, 4)
        if len(row) < 4 or ("," not in line and len(row) > 4):
            raise ValueError(f"line {number} of {path} must have four words, got {row}")
        a, b, c, d = words = [word.strip(BLANKS).lower() for word in row[-4:]]
        names = any(map(str.isdigit, "".join(words))) if header is None else header
        if number > 1 or not names:
            questions.append((a, b, c, d))
    if not questions:
        raise ValueError(f"path must be a file with analogies, got {path} without any")
    return questions


def word_analogies(
    vectors: WordVectors, questions: Sequence[tuple[str, str, str, str]], chunk: int = 512
) -> Analogies:
    """Share of questions whose answer is the word of largest cosine with ``b - a + c``.

    Args:
        vectors: to evaluate.
        questions: ``(a, b, c, d)``; those with an unknown word are left out and counted.
        chunk: questions that are answered at a time.

    Raises:
        TypeError: if a question is no list of words, with its place.
        ValueError: if there is no question, or one has not four words.
    """
    if not len(questions):
        raise ValueError("questions must be at least one, got none")
    for i, question in enumerate(questions):
        if len(checks.texts(f"questions[{i}]", question)) != 4:
            raise ValueError(f"questions[{i}] must be four words, got {question!r}")
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
        vectors: to evaluate; they are not changed.
        train: sentences, of words, and their labels.
        test: likewise.
        inverse_penalty: inverse weight of the L2 penalty (C of scikit-learn), positive.

    Raises:
        TypeError: if a sentence is no list of words, with its place.
        ValueError: if sentences and labels differ in number, or inverse_penalty is not positive.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    checks.number("inverse_penalty", inverse_penalty, above=0)
    for name, (sentences, labels) in (("train", train), ("test", test)):
        if len(sentences) != len(labels) or not len(labels):
            raise ValueError(
                f"{name} must have a label for each sentence, got {len(sentences)} sentences and "
                f"{len(labels)} labels"
            )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=1000))
    x, y = (
        np.stack(
            [vectors.mean(checks.texts(f"{name}[0][{i}]", own)) for i, own in enumerate(part[0])]
        )
        for name, part in (("train", train), ("test", test))
    )
    return float(model.fit(x, np.asarray(train[1])).score(y, np.asarray(test[1])))
