"""What sentence vectors are good for: finding translations, neighbors and topics."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np

from jcollab import checks

CHUNK = 1 << 24  # scores in memory at a time
Margin = Literal["absolute", "distance", "ratio"]
MARGINS = ("absolute", "distance", "ratio")


def unit(vectors: Any) -> np.ndarray:
    """Vectors of length 1, float32 ``[N, d]``; those of length 0 stay 0.

    Raises:
        ValueError: if they are no matrix, or not finite.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be [N, d], got shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite, got infinite ones or NaN")
    return normalized(vectors)


def normalized(vectors: np.ndarray) -> np.ndarray:
    """:func:`unit` without checks."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def nearest(
    queries: Any, keys: Any, k: int = 1, *, margin: Margin = "absolute", neighbors: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """The k keys of largest score to each query, the best first.

    With ``r(x)`` the mean of the largest cosines of a query to the keys, ``r(y)`` that of a key to
    the queries, and ``r = (r(x) + r(y)) / 2``, the score of a query x and a key y is

        cos(x, y)         ("absolute")
        cos(x, y) - r     ("distance", which orders keys as CSLS does)
        cos(x, y) / r     ("ratio", for r > 0)

    With the last two, keys that lie near many queries ("hubs") count less. They look at all queries
    together, and so need many.

    Args:
        queries: ``[Q, d]``.
        keys: ``[N, d]``, seen a chunk at a time.
        k: 1..N.
        margin: ``"absolute"``, ``"distance"`` or ``"ratio"``.
        neighbors: cosines in each of the means, in 1..min(Q, N).

    Returns:
        Rows of the keys, int ``[Q, k]``, and their scores ``[Q, k]``. Of equal ones, the first
        comes first.

    Raises:
        ValueError: if shapes do not fit, k or neighbors lies outside its range, margin is something
            else, or r is not positive for a ratio.

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
        raise ValueError(
            'margin must be "distance" where means of cosines are not positive, got "ratio" and '
            f"means from {2 * there.min():.3g} (queries) and {2 * back.min():.3g} (keys) on"
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
    """Rows and scores of the k best keys, from halves of the means of both sides."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), int)
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
    """How often the best key is a right one: ``mean_i [names[argmax_j score_ij] = wanted_i]``.

    Keys of equal names (for example a sentence that occurs twice) are equally right.

    Args:
        queries: ``[Q, d]``.
        keys: ``[N, d]``.
        wanted: Q names.
        names: N names.
        margin: form of the score, as for :func:`nearest`.
        neighbors: as for :func:`nearest`.

    Returns:
        In 0..1.

    Raises:
        ValueError: if lengths do not fit, or as for :func:`nearest`.

    Example:
        >>> precision_at_1([[1, 0.1], [0, 1]], [[1, 0], [0, 1], [0, 1]], "ab", "abb")
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
    """P@1 from source to target and back, equal sentences credited.

    Args:
        encoder: has ``encode(texts) -> [N, d]``, as
            :class:`jcollab.text.sentences.SentenceEncoder`.
        source: N sentences.
        target: their translations.
        margin: form of the score, as for :func:`nearest`.
        neighbors: as for :func:`nearest`.

    Raises:
        TypeError: if sentences are no lists of strings, with the place of what is none.
        ValueError: if they differ in number, or as for :func:`nearest`.
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
    """P@1 from source to target among many other sentences of the target's language.

    Args:
        encoder: as for :func:`retrieval`.
        source: N sentences.
        target: their translations.
        others: further keys; those that occur twice are one.
        margin: form of the score, as for :func:`nearest`.
        neighbors: as for :func:`nearest`.

    Returns:
        P@1 and the number of keys.

    Raises:
        TypeError: if sentences are no lists of strings, with the place of what is none.
        ValueError: if source and target differ in number, or as for :func:`nearest`.
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
    """Accuracy of a classifier that has seen one language only, on others.

    Logistic regression on frozen vectors of length 1; its penalty is chosen by cross-validation
    on the training language.

    Args:
        train: vectors ``[N, d]``.
        labels: N classes.
        tests: for each language vectors and classes.

    Returns:
        Accuracy in 0..1 for each of tests, and as ``"majority"`` that of the largest class of
        train, a mean over tests.

    Raises:
        ValueError: if lengths do not fit, or there is only one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    for name, (x, y) in {"train": (train, labels), **tests}.items():
        if len(x) != len(y):
            raise ValueError(f"{name} must have a class for each vector, got {len(x)} and {len(y)}")
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"labels must have at least two classes, got {list(classes)}")
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
