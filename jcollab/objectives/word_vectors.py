"""Losses of word vectors with negative sampling: X2Static, CBOW, skip-gram and sent2vec.

All use one loss of a context vector c_t, the vector of the observed word w_t (the positive), and
the vectors of N sampled words n_tj (the negatives):

    L = (1/T) sum_t l(<c_t, e_{w_t}>) + sum_j (1/T) sum_t l(-<c_t, e_{n_tj}>)
    l(x) = log(1 + exp(-x)), with x clipped to +-20

They differ in the context vectors: X2Static uses a frozen teacher; CBOW, skip-gram and sent2vec use
means of vectors that are trained too.
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
    """Computes ``l(x) = log(1 + exp(-x))`` with x clipped to +-clip; the gradient is 0 beyond.

    Example:
        >>> round(float(jc.objectives.clipped_logistic(0.0)), 3)  # log 2
        0.693
        >>> jax.grad(jc.objectives.clipped_logistic)(-30.0).item()
        0.0
    """
    # At +-clip itself, the gradient is that of the logistic loss; jnp.clip would halve it there.
    inside = jnp.abs(x) <= clip
    x = jnp.where(inside, x, jax.lax.stop_gradient(jnp.clip(x, -clip, clip)))
    return jax.nn.softplus(-x)


def negative_sampling(
    contexts: Array, positives: Array, negatives: Array, clip: float = CLIP
) -> Array:
    """Computes the loss of negative sampling, a mean over targets and a sum over negatives.

        L = (1/T) sum_t ( l(<c_t, p_t>) + sum_j l(-<c_t, n_jt>) ),   l: clipped_logistic

    Args:
        contexts: c, ``[T, d]``.
        positives: p, vectors of the targets, ``[T, d]``.
        negatives: n, vectors of the sampled words, ``[N, T, d]``.
        clip: bound of scores, positive; infinity for no bound.

    Returns:
        ``[]``; (N + 1) log 2 if all vectors are 0.

    Example:
        >>> zeros = jnp.zeros((3, 4))
        >>> value = jc.objectives.negative_sampling(zeros, zeros, jnp.zeros((2, 3, 4)))
        >>> round(float(value), 3)  # 3 log 2
        2.079
    """
    right = jnp.sum(contexts * positives, -1)
    wrong = jnp.sum(contexts * negatives, -1)
    return _of_scores(right, wrong, 1 / len(right), clip)


def x2static(
    table: Array, contexts: Array, targets: Array, negatives: Array, clip: float = CLIP
) -> Array:
    """Computes the loss of X2Static as a function of the whole table of word vectors.

    Args:
        table: E, ``[V, d]``.
        contexts: vectors of a frozen teacher, ``[T, d]``.
        targets: indices of words, int ``[T]``.
        negatives: indices of words, int ``[N, T]``.
        clip: bound of scores, positive; infinity for no bound.

    Returns:
        ``[]``.

    Raises:
        ValueError: if shapes do not fit.

    Example:
        >>> words = jnp.zeros((2, 3), jnp.int32)
        >>> value = jc.objectives.x2static(jnp.zeros((5, 4)), jnp.ones((3, 4)), words[0], words)
        >>> round(float(value), 3)  # 3 log 2
        2.079

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
    """Returns the rows of the table that a batch of X2Static uses, targets and then negatives.

    Example:
        >>> batch = {"targets": jnp.array([4, 1]), "negatives": jnp.array([[0, 2]])}
        >>> jc.objectives.x2static_rows(batch)["words"].tolist()
        [4, 1, 0, 2]
    """
    return {"words": jnp.concatenate([jnp.ravel(batch[k]) for k in ("targets", "negatives")])}


def x2static_loss(clip: float = CLIP) -> Loss:
    """Builds the X2Static loss for :func:`jcollab.algorithms.sparse_decentralized`.

    The rows of a batch are given by :func:`x2static_rows`. A batch has ``targets [T]``,
    ``negatives [N, T]`` and ``contexts [T, d]``. Since all targets of a sentence have the same
    context, it may instead have ``contexts [L, d]`` of L sentences and ``lines [T]``, the index of
    the sentence of each target. With ``shares [L]``, the fraction of the targets that is in each
    sentence, negatives are ``[N, L]`` and are shared by the targets of a sentence.

    With ``lines`` and ``sparse_decentralized(..., distinct=True)``, scores are looked up in the
    product of all rows with all contexts, which is several times as fast as a product for each
    target.

    Args:
        clip: bound of scores, positive; infinity for no bound.

    Returns:
        ``loss(vectors, batch, key)``; ``vectors["words"]`` is ``[r, d]``, or ``[u, d]`` with
        ``batch["places"]``.

    Raises:
        ValueError: if clip is not positive.

    Example:
        >>> batch = {"targets": jnp.array([4, 1]), "negatives": jnp.array([[0, 2]])}
        >>> batch["contexts"] = jnp.ones((2, 3))
        >>> vectors = {"words": jnp.zeros((4, 3))}  # two targets and two negatives
        >>> round(float(jc.objectives.x2static_loss()(vectors, batch, None)), 3)  # 2 log 2
        1.386

    Source: Gupta and Jaggi 2021, arXiv 2106.04302; shared negatives are ours.
    """
    checks.number("clip", clip, above=0)

    def loss(vectors: dict[str, Array], batch: Any, key: Array) -> Array:
        words, contexts, negatives = vectors["words"], batch["contexts"], batch["negatives"]
        count, places, lines = len(batch["targets"]), batch.get("places"), batch.get("lines")
        # shared negatives [N, L] are in the order of sentences, others in the order of targets
        other = None if "shares" in batch else lines
        if places is not None and lines is not None:
            # One product [u, L] of distinct rows and sentences, at the precision of separate ones:
            # the default of products on accelerators is lower.
            scores = jnp.matmul(words, contexts.T, precision="highest")
            first, rest = places["words"][:count], places["words"][count:]
            right = _looked_up(scores, first, lines)
            wrong = _looked_up(scores, rest.reshape(negatives.shape), other)
        else:
            if places is not None:
                # an index out of range marks an absent row; it must not be clamped to the last row
                words = words.at[places["words"]].get(mode="fill", fill_value=0)
            positives, rest = _split(words, batch)
            right = jnp.sum(_at(contexts, lines) * positives, -1)
            wrong = jnp.sum(_at(contexts, other) * rest, -1)
        return _of_scores(right, wrong, batch.get("shares", 1 / count), clip)

    return loss


def bag_rows(batch: Any) -> dict[str, Array]:
    """Returns the rows that a batch of :func:`bag_loss` uses: sources ``[T, K]`` and words ``[r]``.

    Example:
        >>> batch = {"targets": jnp.array([4]), "negatives": jnp.array([[0]])}
        >>> batch["bags"] = jnp.array([[7, 8, -1]])
        >>> rows = jc.objectives.bag_rows(batch)
        >>> rows["sources"].tolist(), rows["words"].tolist()
        ([[7, 8, -1]], [4, 0])
    """
    return {"sources": batch["bags"], **x2static_rows(batch)}


def bag_loss(clip: float = CLIP) -> Loss:
    """Builds the loss of CBOW, skip-gram or sent2vec for ``sparse_decentralized``.

        c_t = mean of the source vectors in bag t

    A bag is a window (CBOW), one word of a window (skip-gram), or a sentence without the target,
    with its n-grams (sent2vec). The word vectors to use afterwards are the sources. The rows of a
    batch are given by :func:`bag_rows`.

    Args:
        clip: bound of scores, positive; infinity for no bound.

    Returns:
        ``loss(vectors, batch, key)``; ``batch["bags"]`` is int ``[T, K]``, padded with -1.

    Raises:
        ValueError: if clip is not positive.

    Example:
        >>> batch = {"targets": jnp.array([4]), "negatives": jnp.array([[0]])}
        >>> batch["bags"] = jnp.array([[7, 8, -1]])
        >>> vectors = {"sources": jnp.ones((1, 3, 2)), "words": jnp.zeros((2, 2))}
        >>> round(float(jc.objectives.bag_loss()(vectors, batch, None)), 3)  # 2 log 2
        1.386

    Source: Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546; Pagliardini, Gupta and Jaggi 2018,
    arXiv 1703.02507.
    """
    checks.number("clip", clip, above=0)

    def loss(vectors: dict[str, Array], batch: Any, key: Array) -> Array:
        # padded entries are rows of zeros in ``vectors``: they count neither in sum nor in size
        size = jnp.sum(batch["bags"] >= 0, -1, keepdims=True)
        contexts = jnp.sum(vectors["sources"], -2) / jnp.maximum(size, 1)
        return negative_sampling(contexts, *_split(vectors["words"], batch), clip)

    return loss


def _of_scores(right: Array, wrong: Array, shares: Array | float, clip: float) -> Array:
    """Computes the loss of scores ``[T]`` and ``[N, T]``, or ``[N, L]`` with shares ``[L]``."""
    return jnp.mean(clipped_logistic(right, clip)) + jnp.sum(
        clipped_logistic(-wrong, clip) * shares
    )


def _split(words: Array, batch: Any) -> tuple[Array, Array]:
    """Splits rows into vectors of targets ``[T, d]`` and of negatives ``[N, T or L, d]``."""
    count = len(batch["targets"])
    return words[:count], words[count:].reshape(*batch["negatives"].shape, -1)


def _looked_up(scores: Array, rows: Array, columns: Array | None) -> Array:
    """Returns entries of a matrix, 0 outside of it; without columns, they are in order."""
    columns = jnp.arange(scores.shape[1]) if columns is None else columns
    return scores.at[rows, columns].get(mode="fill", fill_value=0)


def _at(contexts: Array, lines: Array | None) -> Array:
    return contexts if lines is None else contexts[lines]
