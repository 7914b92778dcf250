"""Pairs of sentences as arrays, and the order in which they are trained on."""

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
    """Pairs in pieces.

    Attributes:
        x: int32 ``[N, L]``, 0 is padding.
        y: int32 ``[N, L]``.
        x_id: int32 ``[N]``, equal where sentences are up to case and punctuation.
        y_id: likewise of y.
    """

    x: np.ndarray
    y: np.ndarray
    x_id: np.ndarray
    y_id: np.ndarray


def piece_data(vocabulary: Subwords, pairs: Pairs, max_len: int = 32) -> PieceData:
    """Splits pairs into pieces; both sides are cut or padded to one length of at most max_len.

    Raises:
        ValueError: if there are no pairs, or the sides differ in number.
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
    """Passes of every client through its own examples, each in a new random order.

    What does not fill a batch at the end of a pass is left out of that pass.

    Args:
        rng: NumPy's generator.
        parts: one index array for each client.
        batch_size: b; clients with fewer examples repeat some.
        num_rounds: T.

    Returns:
        int32 ``[T, n, b]``.

    Raises:
        ValueError: if a number is not positive, or a client has no examples.
    """
    if batch_size < 1 or num_rounds < 1:
        raise ValueError(
            f"batch_size and num_rounds must be at least 1, got {batch_size} and {num_rounds}"
        )
    return np.stack([_passes(rng, np.asarray(p), batch_size, num_rounds) for p in parts], 1)


def neighbor_epoch(
    rng: np.random.Generator, vectors: np.ndarray, batch_size: int, group: int
) -> np.ndarray:
    """One pass in batches of groups of sentences that lie near each other: hard negatives.

    A tree of random hyperplanes, each through the median along the difference of two examples,
    cuts the examples into groups, which are dealt to batches at random.

    Args:
        rng: NumPy's generator.
        vectors: of the sentences, ``[N, d]``.
        batch_size: b <= N.
        group: largest size of a group.

    Returns:
        int32 ``[N // b, 1, b]``.

    Raises:
        ValueError: if batch_size or group lies outside 1..N.

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
        along = vectors[rows] @ (vectors[rows[one]] - vectors[rows[other]])
        rows = rows[np.argsort(along, kind="stable")]
        waiting += [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    dealt = np.concatenate([groups[i] for i in rng.permutation(len(groups))])
    kept = total // batch_size * batch_size
    return dealt[:kept].reshape(-1, 1, batch_size).astype(np.int32)


def in_order(examples: PyTree, order: Array | np.ndarray) -> Batches:
    """Batches of given examples: round t takes ``examples[order[t]]``, leaves ``[n, b, ...]``.

    Rounds beyond the last start again.

    Args:
        examples: pytree with leaves ``[N, ...]``.
        order: int ``[T, n, b]`` in 0..N-1, for example from :func:`epochs`.

    Raises:
        TypeError: if the order is not integer.
        ValueError: if it does not have three axes, or a number lies outside its range.
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
        raise ValueError("parts: a client is left without data")
    part = np.resize(part, max(len(part), batch_size))
    each = len(part) // batch_size
    passes = [rng.permutation(part)[: each * batch_size] for _ in range(-(-num_rounds // each))]
    return np.concatenate(passes).reshape(-1, batch_size)[:num_rounds].astype(np.int32)


def _numbers(texts: list[str]) -> np.ndarray:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(folded(text), len(seen)) for text in texts], np.int32)
