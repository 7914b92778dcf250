"""Retrieval with sentence vectors: nearest neighbors, translations, and classes of sentences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np

from jcollab import checks

CHUNK = 1 << 24  # scores in memory at a time
Margin = Literal["absolute", "distance", "ratio"]
MARGINS = ("absolute", "distance", "ratio")


def unit(vectors: Any) -> np.ndarray:
    """Scales vectors to length 1, float32 ``[N, d]``; vectors of length 0 stay 0.

    Raises:
        ValueError: if the vectors are not a matrix, or not finite.

    Example:
        >>> jc.text.retrieval.unit([[0, 2], [0, 0]]).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be [N, d], got shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite, got infinity or NaN")
    return normalized(vectors)


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Scales the rows of a float matrix to length 1, without the checks of :func:`unit`.

    Example:
        >>> jc.text.retrieval.normalized(np.array([[0.0, 2.0]])).tolist()
        [[0.0, 1.0]]
    """
    # the lower bound keeps rows of zeros at 0 instead of NaN
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def nearest(
    queries: Any, keys: Any, k: int = 1, *, margin: Margin = "absolute", neighbors: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k keys of largest score for each query, the best first.

    Let ``r(x)`` be the mean of the largest cosines of a query x with the keys, ``r(y)`` the mean
    of the largest cosines of a key y with the queries, and ``r = (r(x) + r(y)) / 2``. The score of
    x and y is

        cos(x, y)         ("absolute")
        cos(x, y) - r     ("distance", which orders keys as CSLS does)
        cos(x, y) / r     ("ratio", for r > 0)

    The last two forms lower the score of keys that are near many queries ("hubs"). Their scores
    depend on all queries, so they require many queries.

    Args:
        queries: ``[Q, d]``.
        keys: ``[N, d]``, processed in chunks.
        k: number of keys for each query, in 1..N.
        margin: form of the score, ``"absolute"``, ``"distance"`` or ``"ratio"``.
        neighbors: number of cosines in each mean, in 1..min(Q, N).

    Returns:
        Rows of the keys, int ``[Q, k]``, and their scores ``[Q, k]``. Among keys of equal score,
        the lower row comes first.

    Raises:
        ValueError: if shapes do not fit, k or neighbors is out of its range, margin is unknown, or
            r is not positive for ``"ratio"``.

    Example:
        >>> rows, scores = jc.text.retrieval.nearest([[1.0, 0.0]], [[0.0, 2.0], [3.0, 4.0]])
        >>> rows.tolist(), round(float(scores[0, 0]), 3)
        ([[1]], 0.6)

    Source: Artetxe and Schwenk 2019, arXiv 1811.01136; Conneau et al. 2018, arXiv 1710.04087
    (CSLS).
    """
    queries, keys = unit(queries), unit(keys)
    if queries.shape[1] != keys.shape[1]:
        raise ValueError(
            f"queries and keys must have one d, got {queries.shape[1]} and {keys.shape[1]}"
        )
    checks.one_of("margin", margin, MARGINS)
    checks.count("k", k, 1, len(keys))
    if margin == "absolute":
        return _largest(queries, keys, k)
    checks.count("neighbors", neighbors, 1, min(len(queries), len(keys)))
    there = _largest(queries, keys, neighbors)[1].mean(1) / 2
    back = _largest(keys, queries, neighbors)[1].mean(1) / 2
    if margin == "ratio" and there.min() + back.min() <= 0:
        # a ratio with a negative r would reverse the order
        raise ValueError(
            'margin must be "distance" if means of cosines are not positive, got "ratio" and '
            f"smallest means {2 * there.min():.3g} (queries) and {2 * back.min():.3g} (keys)"
        )
    return _largest(queries, keys, k, margin, there, back)


def _largest(
    queries: np.ndarray,
    keys: np.ndarray,
    k: int,
    margin: Margin = "absolute",
    there: Any = None,
    back: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of the k best keys; ``there`` is r(x) / 2, ``back`` is r(y) / 2."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), int)
    # the k best so far are merged with those of each chunk: never all [Q, N] scores in memory
    step = max(k, CHUNK // max(len(queries), 1))
    for start in range(0, len(keys), step):
        scores = queries @ keys[start : start + step].T
        if margin == "distance":
            scores -= there[:, None] + back[start : start + step]
        elif margin == "ratio":
            scores /= there[:, None] + back[start : start + step]
        if k == 1:
            here = scores.argmax(1)[:, None]
        else:
            few = min(k, scores.shape[1])
            here = np.argpartition(-scores, few - 1, axis=1)[:, :few]
        merged = np.concatenate([best, np.take_along_axis(scores, here, 1)], 1)
        places = np.concatenate([rows, here + start], 1)
        # by score, then by row: the result does not depend on the size of the chunks
        order = np.lexsort((places, -merged), axis=1)[:, :k]
        best = np.take_along_axis(merged, order, 1)
        rows = np.take_along_axis(places, order, 1)
    return rows, best


def precision_at_1(
    queries: Any,
    keys: Any,
    wanted: Sequence[Hashable],
    names: Sequence[Hashable],
    *,
    margin: Margin = "absolute",
    neighbors: int = 4,
) -> float:
    """Computes precision at 1, ``mean_i [names[argmax_j score_ij] = wanted_i]``.

    All keys with the wanted name are correct, for example a sentence that occurs twice.

    Args:
        queries: ``[Q, d]``.
        keys: ``[N, d]``.
        wanted: name of the correct key of each query, Q names.
        names: name of each key, N names.
        margin: form of the score, as for :func:`nearest`.
        neighbors: as for :func:`nearest`.

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: if lengths do not fit, or as for :func:`nearest`.

    Example:
        >>> queries, keys = [[1, 0.1], [0, 1]], [[1, 0], [0, 1], [0, 1]]
        >>> jc.text.retrieval.precision_at_1(queries, keys, wanted="ab", names="abb")
        1.0
    """
    if len(wanted) != len(queries) or len(names) != len(keys):
        raise ValueError(
            f"wanted and names must be as long as queries and keys ({len(queries)}, {len(keys)}), "
            f"got {len(wanted)} and {len(names)}"
        )
    rows, _ = nearest(queries, keys, margin=margin, neighbors=neighbors)
    return float(
        np.mean([names[row] == name for row, name in zip(rows[:, 0], wanted, strict=True)])
    )


def retrieval(
    encoder: Any,
    source: Sequence[str],
    target: Sequence[str],
    *,
    margin: Margin = "absolute",
    neighbors: int = 4,
) -> tuple[float, float]:
    """Computes precision at 1 of translation retrieval, from source to target and back.

    A retrieved sentence that equals the translation is correct, also at another row.

    Args:
        encoder: object with a method ``encode(texts) -> [N, d]``, such as
            :class:`jcollab.text.sentences.SentenceEncoder`.
        source: N sentences.
        target: N translations.
        margin: form of the score, as for :func:`nearest`.
        neighbors: as for :func:`nearest`.

    Returns:
        Two fractions in [0, 1], from source to target and from target to source.

    Raises:
        TypeError: if source or target is not a list of strings; the message gives the position.
        ValueError: if source and target differ in length, or as for :func:`nearest`.

    Example:
        >>> class Encoder:
        ...     table = {"cat": [1, 0], "chat": [1, 0.1], "dog": [0, 1], "chien": [0.1, 1]}
        ...     def encode(self, texts):
        ...         return np.array([self.table[text] for text in texts])
        >>> jc.text.retrieval.retrieval(Encoder(), ["cat", "dog"], ["chat", "chien"])
        (1.0, 1.0)
    """
    source, target = _translations(source, target)
    left, right = encoder.encode(source), encoder.encode(target)
    there = precision_at_1(left, right, target, target, margin=margin, neighbors=neighbors)
    back = precision_at_1(right, left, source, source, margin=margin, neighbors=neighbors)
    return there, back


def among_many(
    encoder: Any,
    source: Sequence[str],
    target: Sequence[str],
    others: Sequence[str],
    *,
    margin: Margin = "absolute",
    neighbors: int = 4,
) -> tuple[float, int]:
    """Computes precision at 1 from source to target among many other sentences.

    Args:
        encoder: as for :func:`retrieval`.
        source: N sentences.
        target: N translations.
        others: further keys in the language of target; repeated sentences count once.
        margin: form of the score, as for :func:`nearest`.
        neighbors: as for :func:`nearest`.

    Returns:
        A fraction in [0, 1], and the number of keys.

    Raises:
        TypeError: if an argument is not a list of strings; the message gives the position.
        ValueError: if source and target differ in length, or as for :func:`nearest`.

    Example:
        >>> class Encoder:
        ...     table = {"cat": [1, 0], "chat": [1, 0.1], "chien": [0.1, 1]}
        ...     def encode(self, texts):
        ...         return np.array([self.table[text] for text in texts])
        >>> jc.text.retrieval.among_many(Encoder(), ["cat"], ["chat"], others=["chien"])
        (1.0, 2)
    """
    source, target = _translations(source, target)
    names = [*dict.fromkeys(checks.texts("others", others)), *target]
    left, right = encoder.encode(source), encoder.encode(names)
    score = precision_at_1(left, right, target, names, margin=margin, neighbors=neighbors)
    return score, len(names)


def _translations(source: Any, target: Any) -> tuple[list[str], list[str]]:
    source, target = checks.texts("source", source), checks.texts("target", target)
    if len(source) != len(target):
        raise ValueError(
            f"source and target must be equally long, got {len(source)} and {len(target)}"
        )
    return source, target


def zero_shot(
    train: Any, labels: Sequence[Hashable], tests: dict[str, tuple[Any, Sequence[Hashable]]]
) -> dict[str, float]:
    """Computes the accuracy on several languages of a classifier trained on one language.

    The classifier is a logistic regression on frozen vectors scaled to length 1. Cross-validation
    on the training language chooses its penalty.

    Args:
        train: vectors of the training language, ``[N, d]``.
        labels: N classes.
        tests: vectors and classes of each test language.

    Returns:
        The accuracy of each test, in [0, 1], and as ``"majority"`` the accuracy of always
        predicting the largest class of train, a mean over tests.

    Raises:
        ValueError: if lengths do not fit, or there is only one class.

    Example:
        >>> english, french = np.eye(2)[[0, 1, 0, 1]], np.eye(2)[[1, 0]]
        >>> labels = ["sport", "food", "sport", "food"]
        >>> tests = {"fr": (french, ["food", "sport"])}
        >>> jc.text.retrieval.zero_shot(english, labels, tests)
        {'fr': 1.0, 'majority': 0.5}
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    for name, (x, y) in {"train": (train, labels), **tests}.items():
        if len(x) != len(y):
            raise ValueError(f"{name} must have a class for each vector, got {len(x)} and {len(y)}")
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"labels must have at least two classes, got {list(classes)}")
    # stratified folds require at least one example of each class in each fold
    folds = int(min(5, counts.min()))
    model: Any = LogisticRegression(max_iter=1000)
    if folds >= 2:
        grid = {"C": [0.3, 1, 3, 10, 30, 100]}
        model = GridSearchCV(model, grid, cv=folds)
    model.fit(unit(train), np.asarray(labels))
    scores = {name: float(model.score(unit(x), np.asarray(y))) for name, (x, y) in tests.items()}
    largest = classes[counts.argmax()]
    scores["majority"] = float(
        np.mean([np.mean(np.asarray(y) == largest) for _, y in tests.values()])
    )
    return scores
