"""Losses of word vectors with negative sampling: X2Static, and those with a table of sources.

All are one loss of a context vector c_t, the vector of the word w_t that was there, and those of N
words n_tj that were not:

    L = (1/T) sum_t l(<c_t, e_{w_t}>) + sum_j (1/T) sum_t l(-<c_t, e_{n_tj}>)
    l(x) = log(1 + exp(-x)), with x cut off at +-20

They differ in where contexts come from: of X2Static from a frozen teacher, of CBOW, skip-gram and
sent2vec from a mean of vectors that are learnt too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import Loss

Array = jax.Array
CLIP = 20.0


def clipped_logistic(x: Array, clip: float = CLIP) -> Array:
    """``l(x) = log(1 + exp(-x))`` with x cut off at +-clip, beyond which the gradient is 0."""
    inside = jnp.abs(x) <= clip  # at +-clip itself the gradient is still there
    x = jnp.where(inside, x, jax.lax.stop_gradient(jnp.clip(x, -clip, clip)))
    return jax.nn.softplus(-x)


def negative_sampling(
    contexts: Array, positives: Array, negatives: Array, clip: float = CLIP
) -> Array:
    """The loss of the module: a mean over targets and a sum over negatives.

    Args:
        contexts: c, ``[T, d]``.
        positives: vectors of the targets, ``[T, d]``.
        negatives: of the words that were not there, ``[N, T, d]``.
        clip: positive; infinity for none.

    Returns:
        ``[]``; (N + 1) log 2 where all vectors are 0.
    """
    right = jnp.sum(contexts * positives, -1)
    wrong = jnp.sum(contexts * negatives, -1)
    return _of_scores(right, wrong, 1 / len(right), clip)


def x2static(
    table: Array, contexts: Array, targets: Array, negatives: Array, clip: float = CLIP
) -> Array:
    """The loss of X2Static as a function of the whole table.

    Args:
        table: E, ``[V, d]``.
        contexts: of a frozen teacher, ``[T, d]``.
        targets: words, int ``[T]``.
        negatives: words, int ``[N, T]``.
        clip: positive.

    Returns:
        ``[]``.

    Raises:
        ValueError: if shapes do not fit.

    Example:
        >>> words = jnp.zeros((2, 3), jnp.int32)
        >>> value = x2static(jnp.zeros((5, 4)), jnp.ones((3, 4)), words[0], words)
        >>> round(float(value), 4)  # 3 log 2
        2.0794

    Source: Gupta and Jaggi 2021, arXiv 2106.04302.
    """
    (count,) = jnp.shape(targets)
    for name, value, shape in (
        ("contexts", contexts, (count, table.shape[1])),
        ("negatives", negatives, (jnp.shape(negatives)[0], count)),
    ):
        if jnp.shape(value) != shape:
            raise ValueError(
                f"{name} must have shape {shape} for {count} targets and a table "
                f"{jnp.shape(table)}, got {jnp.shape(value)}"
            )
    return negative_sampling(contexts, table[targets], table[negatives], clip)


def x2static_rows(batch: Any) -> dict[str, Array]:
    """Rows of the table that a batch of X2Static looks up, int ``[r]``: targets, then negatives."""
    return {"words": jnp.concatenate([jnp.ravel(batch[k]) for k in ("targets", "negatives")])}


def x2static_loss(clip: float = CLIP) -> Loss:
    """X2Static for :func:`jcollab.algorithms.sparse_decentralized`, with :func:`x2static_rows`.

    A batch has ``targets [T]``, ``negatives [N, T]`` and ``contexts [T, d]``; or, as the targets
    of a sentence have one context, ``contexts [L, d]`` of L sentences and the sentence
    ``lines [T]`` of each target. With ``shares [L]`` too, the part of the targets that is in each
    sentence, negatives are ``[N, L]``, which the targets of a sentence share.

    With ``sparse_decentralized(..., distinct=True)``, and ``lines``, scores are looked up in the
    product of all rows with all contexts: several times as fast as a product for each target.

    Args:
        clip: where scores are cut off, positive; infinity for none.

    Returns:
        ``loss(vectors, batch, key)``; ``vectors["words"]`` is ``[r, d]``, or ``[u, d]`` with
        ``batch["places"]``.

    Raises:
        ValueError: if clip is not positive.

    Source: Gupta and Jaggi 2021, arXiv 2106.04302; shared negatives are ours.
    """
    checks.number("clip", clip, above=0)

    def loss(vectors: dict[str, Array], batch: Any, key: Array) -> Array:
        words, contexts, negatives = vectors["words"], batch["contexts"], batch["negatives"]
        count, places, lines = len(batch["targets"]), batch.get("places"), batch.get("lines")
        other = None if "shares" in batch else lines  # whose contexts negatives meet
        if places is not None and lines is not None:
            scores = jnp.matmul(words, contexts.T, precision="highest")
            first, rest = places["words"][:count], places["words"][count:]
            right = _looked_up(scores, first, lines)
            wrong = _looked_up(scores, rest.reshape(negatives.shape), other)
        else:
            if places is not None:
                words = words.at[places["words"]].get(mode="fill", fill_value=0)
            positives, rest = _split(words, batch)
            right = jnp.sum(_at(contexts, lines) * positives, -1)
            wrong = jnp.sum(_at(contexts, other) * rest, -1)
        return _of_scores(right, wrong, batch.get("shares", 1 / count), clip)

    return loss


def bag_rows(batch: Any) -> dict[str, Array]:
    """Rows that a batch of a model with bags looks up: sources ``[T, K]``, and words ``[r]``."""
    return {"sources": batch["bags"], **x2static_rows(batch)}


def bag_loss(clip: float = CLIP) -> Loss:
    """CBOW, skip-gram and sent2vec by their bags, for ``sparse_decentralized``.

        c_t = mean of the source vectors in bag t

    A bag is a window (CBOW), one word of it (skip-gram), or a sentence without the target with
    its n-grams (sent2vec). The vectors to release are the sources.

    Args:
        clip: positive; infinity for none.

    Returns:
        ``loss(vectors, batch, key)``; ``batch["bags"]`` is int ``[T, K]``, -1 where a bag has
        fewer than K entries.

    Raises:
        ValueError: if clip is not positive.

    Source: Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546; Pagliardini, Gupta and Jaggi 2018,
    arXiv 1703.02507.
    """
    checks.number("clip", clip, above=0)

    def loss(vectors: dict[str, Array], batch: Any, key: Array) -> Array:
        size = jnp.sum(batch["bags"] >= 0, -1, keepdims=True)
        contexts = jnp.sum(vectors["sources"], -2) / jnp.maximum(size, 1)
        return negative_sampling(contexts, *_split(vectors["words"], batch), clip)

    return loss


def _of_scores(right: Array, wrong: Array, shares: Array | float, clip: float) -> Array:
    """The loss of scores ``[T]`` and ``[N, T]``; of ``[N, L]``, with shares ``[L]`` of targets."""
    return jnp.mean(clipped_logistic(right, clip)) + jnp.sum(
        clipped_logistic(-wrong, clip) * shares
    )


def _split(words: Array, batch: Any) -> tuple[Array, Array]:
    """Vectors of the targets ``[T, d]`` and of the negatives ``[N, T or L, d]``."""
    count = len(batch["targets"])
    return words[:count], words[count:].reshape(*batch["negatives"].shape, -1)


def _looked_up(scores: Array, rows: Array, columns: Array | None) -> Array:
    """Entries of a matrix, 0 outside of it; the columns in order where there are none."""
    columns = jnp.arange(scores.shape[1]) if columns is None else columns
    return scores.at[rows, columns].get(mode="fill", fill_value=0)


def _at(contexts: Array, lines: Array | None) -> Array:
    return contexts if lines is None else contexts[lines]
