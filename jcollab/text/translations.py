"""Pairs of sentences as arrays, and orders of training examples."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Batches
from jcollab.data.batches import from_function
from jcollab.text.corpora import folded
from jcollab.text.pairs import Pairs
from jcollab.text.subwords import Subwords

PyTree = Any
Array = jax.Array


class PieceData(NamedTuple):
    """Pairs of sentences as indices of pieces.

    Attributes:
        x: source sentences, int32 ``[N, L]``, padded with 0.
        y: target sentences, int32 ``[N, L]``, padded with 0.
        x_id: int32 ``[N]``, equal for source sentences that are equal up to case and punctuation.
        y_id: the same for target sentences, int32 ``[N]``.
    """

    x: np.ndarray
    y: np.ndarray
    x_id: np.ndarray
    y_id: np.ndarray


def piece_data(vocabulary: Subwords, pairs: Pairs, max_len: int = 32) -> PieceData:
    """Splits pairs into pieces; both sides are truncated or padded to the same length.

    Args:
        vocabulary: vocabulary of both languages.
        pairs: N pairs of sentences.
        max_len: longest sentence in pieces.

    Raises:
        ValueError: if there are no pairs, or the sides differ in length.

    Example:
        >>> pairs = jc.text.Pairs(["a cat", "A cat."], ["un chat", "un bon chat"])
        >>> words = jc.text.train_subwords(pairs.source + pairs.target, size=40)
        >>> data = jc.text.piece_data(words, pairs, max_len=4)
        >>> data.x.shape == data.y.shape, data.x_id.tolist(), data.y_id.tolist()
        (True, [0, 0], [0, 1])
    """
    if not list(pairs.both()):
        raise ValueError("pairs must have at least one pair, got none")
    sides = [vocabulary.ids(side, max_len) for side in pairs[:2]]
    width = max(side.shape[1] for side in sides)
    x, y = (np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in sides)
    return PieceData(x, y, *(_numbers(side) for side in pairs[:2]))


def epochs(
    rng: np.random.Generator, parts: list[np.ndarray], batch_size: int, num_rounds: int
) -> np.ndarray:
    """Returns an order of training: passes of each client through its examples, newly shuffled.

    The examples that remain after the last full batch of a pass are omitted from that pass.

    Args:
        rng: NumPy generator.
        parts: indices of the examples of each client, n arrays.
        batch_size: b, examples in a batch; clients with fewer examples repeat some.
        num_rounds: T.

    Returns:
        Indices of the examples, int32 ``[T, n, b]``.

    Raises:
        ValueError: if a number is not positive, or a client has no examples.

    Example:
        >>> parts = [np.arange(4), np.arange(4, 8)]
        >>> order = jc.text.epochs(np.random.default_rng(0), parts, batch_size=2, num_rounds=2)
        >>> order.shape, sorted(order[:, 1].ravel().tolist())  # a pass of client 1
        ((2, 2, 2), [4, 5, 6, 7])
    """
    if batch_size < 1 or num_rounds < 1:
        raise ValueError(
            f"batch_size and num_rounds must be at least 1, got {batch_size} and {num_rounds}"
        )
    return np.stack([_passes(rng, np.asarray(p), batch_size, num_rounds) for p in parts], 1)


def neighbor_epoch(
    rng: np.random.Generator, vectors: np.ndarray, batch_size: int, group: int
) -> np.ndarray:
    """Returns an order of one pass, in batches of groups of near sentences (hard negatives).

    A tree of random hyperplanes splits the examples into groups. Each hyperplane is orthogonal to
    the difference of two random examples and splits at the median. The batches consist of the
    groups in random order.

    Args:
        rng: NumPy generator.
        vectors: sentence vectors, ``[N, d]``.
        batch_size: b, in 1..N.
        group: largest size of a group, in 1..N.

    Returns:
        Indices of the examples, int32 ``[N // b, 1, b]``.

    Raises:
        ValueError: if batch_size or group is out of its range.

    Example:
        >>> vectors = np.array([[0.0], [9.0], [1.0], [8.0]])
        >>> rng = np.random.default_rng(0)
        >>> order = jc.text.neighbor_epoch(rng, vectors, batch_size=2, group=2)
        >>> sorted(sorted(batch) for batch in order[:, 0].tolist())
        [[0, 2], [1, 3]]

    Source of the tree: Dasgupta and Freund 2008, STOC (random projection trees).
    """
    total = len(vectors)
    for name, value in (("batch_size", batch_size), ("group", group)):
        if not 1 <= value <= total:
            raise ValueError(f"{name} must be in 1..N={total}, got {value}")
    waiting, groups = [rng.permutation(total)], []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= group:
            groups.append(rows)
            continue
        one, other = rng.choice(len(rows), 2, replace=False)
        # halves of equal size at the median: the depth is at most log2(N / group) + 1, even for
        # repeated sentences
        along = vectors[rows] @ (vectors[rows[one]] - vectors[rows[other]])
        rows = rows[np.argsort(along, kind="stable")]
        waiting += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    dealt = np.concatenate([groups[i] for i in rng.permutation(len(groups))])
    kept = total // batch_size * batch_size
    return dealt[:kept].reshape(-1, 1, batch_size).astype(np.int32)


def in_order(examples: PyTree, order: Array | np.ndarray) -> Batches:
    """Builds batches in a given order: ``examples[order[t]]`` in round t, leaves ``[n, b, ...]``.

    The rounds after the last one of the order start again at the first one.

    Args:
        examples: pytree with leaves ``[N, ...]``.
        order: indices of examples, int ``[T, n, b]`` in 0..N-1, for example from :func:`epochs`.

    Raises:
        TypeError: if the order is not integer.
        ValueError: if the order does not have three axes, or an index is out of its range.

    Example:
        >>> examples, order = np.array([10, 11, 12, 13]), np.array([[[0, 1]], [[2, 3]]])
        >>> batches = jc.text.in_order(examples, order)
        >>> batches.draw(jax.random.key(0), 1).tolist()
        [[12, 13]]
    """
    order, total = np.asarray(order), layout.num_clients(examples, "examples")
    if not np.issubdtype(order.dtype, np.integer):
        raise TypeError(f"order must be integer, got {order.dtype}")
    if order.ndim != 3 or not order.size:
        raise ValueError(f"order must have shape [T, n, b], got {list(order.shape)}")
    checks.number("order", (order.min(), order.max()), at_least=0, at_most=total - 1, arrays=True)
    return from_function(_take, (examples, jnp.asarray(order, jnp.int32)))


def _take(data: tuple[PyTree, Array], key: Array, step: Array) -> PyTree:
    examples, order = data
    chosen = order[step % len(order)]
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], examples)


def _passes(
    rng: np.random.Generator, part: np.ndarray, batch_size: int, num_rounds: int
) -> np.ndarray:
    if not len(part):
        raise ValueError("parts must contain an example of each client, got an empty array")
    # np.resize repeats the examples of a client that has fewer than a batch
    part = np.resize(part, max(len(part), batch_size))
    each = len(part) // batch_size
    passes = [rng.permutation(part)[: each * batch_size] for _ in range(-(-num_rounds // each))]
    return np.concatenate(passes).reshape(-1, batch_size)[:num_rounds].astype(np.int32)


def _numbers(texts: list[str]) -> np.ndarray:
    """Indices of sentences in order of first occurrence, equal for equal folded sentences."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(folded(text), len(seen)) for text in texts], np.int32)
