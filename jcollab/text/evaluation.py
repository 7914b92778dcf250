"""Evaluation of word vectors: word similarity, analogies, and classification of sentences."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from jcollab import checks
from jcollab.data.files import BLANKS, Path, raw_lines
from jcollab.text.vectors import WordVectors

Pairs = Sequence[tuple[str, str, float]]


class Similarity(NamedTuple):
    """Agreement of word vectors with similarity scores by people.

    Attributes:
        spearman: rank correlation over the known pairs; NaN for fewer than two.
        num_known: number of pairs with two known words.
        total: number of all pairs.
    """

    spearman: float
    num_known: int
    total: int


class Analogies(NamedTuple):
    """Accuracy of word vectors on analogies.

    Attributes:
        accuracy: fraction of correct answers to the known questions; NaN if there are none.
        num_known: number of questions with four known words.
        total: number of all questions.
    """

    accuracy: float
    num_known: int
    total: int


def read_pairs(path: Path, *, encoding: str = "utf-8") -> list[tuple[str, str, float]]:
    """Reads pairs of words with scores, from lines ``w1 w2 score``.

    Tabs separate the fields of a line; in a line without two tabs, blanks do. A first line whose
    third field is not a number is skipped as a header.

    Args:
        path: path of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``,
            ``.zst``).
        encoding: encoding of the text.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if a line is not a pair with a finite score or not text in this encoding, with
            the number of the line; or if there are no pairs.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "pairs.txt")
        ...     _ = path.write_text("cat dog 7.5\\ncat car 1.0\\n")
        ...     jc.text.read_pairs(path)
        [('cat', 'dog', 7.5), ('cat', 'car', 1.0)]
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
    """Splits a line by tabs, or by blanks if the tabs do not give the number of fields."""
    parts = line.split("\t")
    if len(parts) != number:
        # str.split would also split at no-break spaces, which are part of words
        parts = re.split("[ \t]+", line.strip(BLANKS))
    return [part.strip(BLANKS) for part in parts]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def word_similarity(vectors: WordVectors, pairs: Pairs) -> Similarity:
    """Computes Spearman's rank correlation of cosines with similarity scores by people.

    Words are lower-cased. Pairs with an unknown word are omitted; the result contains their count.

    Args:
        vectors: vectors to evaluate.
        pairs: tuples ``(word, word, score)``.

    Raises:
        TypeError: if the words of a pair are not strings; the message gives the position.
        ValueError: if there are no pairs, one is not two words and a score, or a score is not
            finite.

    Example:
        >>> table = np.array([[1, 0], [1, 0.5], [0, 1]])
        >>> vectors = jc.text.WordVectors(("cat", "dog", "car"), table)
        >>> pairs = [("cat", "dog", 7.5), ("dog", "car", 2.0), ("cat", "car", 1.0)]
        >>> result = jc.text.word_similarity(vectors, pairs)
        >>> round(result.spearman, 3), result.num_known
        (1.0, 3)

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
    """Reads questions "a is to b as c is to d" from the lines of a file, lower-cased.

    The words of a line with commas are its last four fields, as in a CSV file. In other lines,
    blanks separate the four words. Empty lines are skipped, and lines that begin with a colon
    (section titles of the Google analogy data set).

    Args:
        path: path of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``,
            ``.zst``).
        header: whether the first line is a header. For None, it is a header if one of its four
            words contains a digit, such as ``word1``.
        encoding: encoding of the text.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if a line does not have four words or is not text in this encoding, with the
            number of the line; or if there are no questions.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "questions.txt")
        ...     _ = path.write_text(": family\\nMan King Woman Queen\\n")
        ...     jc.text.read_analogies(path)
        [('man', 'king', 'woman', 'queen')]
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
    """Computes the accuracy on analogies: the answer is the word nearest to ``b - a + c``.

    Vectors are scaled to length 1, the nearest word is that of the largest cosine, and a, b and c
    are excluded from the answers.

    Args:
        vectors: vectors to evaluate.
        questions: tuples ``(a, b, c, d)``. Questions with an unknown word are omitted; the result
            contains their count.
        chunk: number of questions answered at once, which bounds the memory.

    Raises:
        TypeError: if a question is not a list of words; the message gives its position.
        ValueError: if there are no questions, or one does not have four words.

    Example:
        >>> table = np.array([[1, 0], [1, 1], [-1, 0], [-1, 1]])
        >>> vectors = jc.text.WordVectors(("man", "king", "woman", "queen"), table)
        >>> jc.text.word_analogies(vectors, [("man", "king", "woman", "queen")]).accuracy
        1.0
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
        # not divided by the length of b - a + c, which changes no order
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
    """Computes the test accuracy of a logistic regression on mean vectors of sentences.

    Args:
        vectors: vectors to evaluate; they are not trained.
        train: sentences, as lists of words, and their labels.
        test: sentences and labels of the test set.
        inverse_penalty: inverse weight of the L2 penalty (C of scikit-learn), positive.

    Raises:
        TypeError: if a sentence is not a list of words; the message gives its position.
        ValueError: if sentences and labels differ in number, or inverse_penalty is not positive.

    Example:
        >>> vectors = jc.text.WordVectors(("good", "bad"), np.array([[1, 0], [0, 1]]))
        >>> train = [["good"], ["bad"], ["very", "good"]], ["+", "-", "+"]
        >>> jc.text.classify_sentences(vectors, train, test=([["good", "film"]], ["+"]))
        1.0
    """
    # here, because scikit-learn is slow to import
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
