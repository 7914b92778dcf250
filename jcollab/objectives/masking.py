"""Masked sentence pairs, and the targets that are predicted from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
MASK = 2  # the piece that replaces a removed one


class PairBatch(NamedTuple):
    """A batch of sentences and their translations, as indices of pieces; 0 is padding.

    Attributes:
        x: sentences, int32 ``[b, L]``.
        y: translations, int32 ``[b, L]``.
        x_id: int32 ``[b]``, equal for equal sentences x; None to treat all as different.
        y_id: int32 ``[b]``, equal for equal sentences y; None to treat all as different.

    Example:
        >>> batch = jc.objectives.PairBatch(x=jnp.array([[7, 8, 0]]), y=jnp.array([[9, 5, 6]]))
        >>> [int((side > 0).sum()) for side in (batch.x, batch.y)]
        [2, 3]
    """

    x: Array
    y: Array
    x_id: Array | None = None
    y_id: Array | None = None


class Masked(NamedTuple):
    """A batch in which one piece of one side of each pair is masked.

    Attributes:
        x: int32 ``[b, L]``.
        y: int32 ``[b, L]``.
        word: int32 ``[b]``, the removed pieces.
        in_x: bool ``[b]``, whether the piece was removed from x.
    """

    x: Array
    y: Array
    word: Array
    in_x: Array


def mask_one(key: Array, batch: PairBatch, maskable: Array) -> Masked:
    """Masks one piece of one side of every pair.

    The side is x with probability 1/2, and the position is uniform among its maskable pieces. If
    the side has no maskable piece (only punctuation), the other side is masked. If neither side has
    one, any piece of the side is masked.

    Args:
        key: random key.
        batch: pairs of sentences.
        maskable: bool ``[V]``, False for punctuation.

    Source: Mao et al. 2021, arXiv 2105.13856.
    """
    side_key, x_key, y_key = jax.random.split(key, 3)
    wish = jax.random.bernoulli(side_key, jnp.float32(0.5), batch.x.shape[:1])
    may_x, may_y = ((maskable[ids] & (ids > 0)).any(1) for ids in (batch.x, batch.y))
    in_x = jnp.where(wish, may_x | ~may_y, may_x & ~may_y)
    # both sides are masked and one is selected: the side differs between the pairs of a batch
    new_x, from_x = mask_sentence(x_key, batch.x, maskable)
    new_y, from_y = mask_sentence(y_key, batch.y, maskable)
    x = jnp.where(in_x[:, None], new_x, batch.x)
    y = jnp.where(in_x[:, None], batch.y, new_y)
    return Masked(x, y, jnp.where(in_x, from_x, from_y), in_x)


def mask_sentence(key: Array, ids: Array, maskable: Array) -> tuple[Array, Array]:
    """Masks one piece of every sentence; returns the new ids ``[b, L]`` and the removed ``[b]``.

    The position is uniform among the maskable pieces, or among all pieces if there are none.
    """
    may = maskable[ids] & (ids > 0)
    may = jnp.where(may.any(1, keepdims=True), may, ids > 0)
    # the largest of independent uniform draws is at a uniformly random position
    place = jnp.argmax(jnp.where(may, jax.random.uniform(key, ids.shape, jnp.float32), -1), 1)
    rows = jnp.arange(len(ids))
    word = ids[rows, place]
    # a sentence without pieces stays empty
    return ids.at[rows, place].set(jnp.where(word > 0, MASK, 0)), word


def drop_pieces(key: Array, ids: Array, chance: float) -> Array:
    """Removes each of the pieces ``[b, L]`` with a given probability.

    A sentence that would lose all pieces is not changed.

    Source: Iyyer et al. 2015, ACL (word dropout of bags).
    """
    kept = jnp.where(jax.random.bernoulli(key, jnp.float32(chance), ids.shape), 0, ids)
    return jnp.where((kept > 0).any(1, keepdims=True), kept, ids)


def sentence_bag(ids: Array, vocab_size: int, weight: float | Array = 1.0) -> Array:
    """Returns the pieces of each sentence as a soft target, ``U_t(v) = 1/|t| for v in set(t)``.

    ``|t|`` counts repeated pieces and the set does not, so a row may sum to less than 1.

    Args:
        ids: int ``[b, L]``, 0 is padding.
        vocab_size: V.
        weight: factor of all entries.

    Returns:
        ``[b, V]``.
    """
    there = ids > 0
    share = weight / jnp.maximum(there.sum(1, keepdims=True), 1)
    rows = jnp.arange(len(ids))[:, None]
    # padding is moved to an index out of range, which ``mode="drop"`` ignores
    places = jnp.where(there, ids, vocab_size)
    empty = jnp.zeros((len(ids), vocab_size))
    # ``set`` and not ``add``: a repeated piece has the weight of one
    return empty.at[rows, places].set(jnp.broadcast_to(share, ids.shape), mode="drop")


def unified_targets(batch: Masked, vocab_size: int) -> tuple[Array, Array]:
    """Computes the targets of the unified generative task, for both sides.

        masked side    q(v) = 1/2 [v = w] + 1/2 U_other(v)
        other side     q(v) = U_masked(v)

    If w also occurs in the other sentence, q(w) is ``1/(2 |other|)``, as in the released code.

    Args:
        batch: pairs with one masked piece.
        vocab_size: V.

    Returns:
        ``[b, V]`` for the prediction from x, and ``[b, V]`` for the prediction from y.

    Source: Mao et al. 2021, arXiv 2105.13856 (UGT), as released.
    """
    of_x, of_y = (sentence_bag(ids, vocab_size) for ids in (batch.x, batch.y))
    word = jax.nn.one_hot(batch.word, vocab_size)

    def masked(other: Array) -> Array:
        return jnp.where(other > 0, other / 2, word / 2)

    in_x = batch.in_x[:, None]
    return jnp.where(in_x, masked(of_y), of_y), jnp.where(in_x, of_x, masked(of_x))


def task_of(
    generative: Sequence[str], key: Array, batch: PairBatch, may: Array, vocab_size: int
) -> tuple[Array, Array, Any, Any]:
    """Returns both sides as inputs of the encoder, and the target ``[b, V]`` of each, or None."""
    if generative == ["ugt"]:
        masked = mask_one(key, batch, may)
        return masked.x, masked.y, *unified_targets(masked, vocab_size)
    if generative == ["smlm"]:
        x_key, y_key = jax.random.split(key)
        (x, of_x), (y, of_y) = (
            mask_sentence(x_key, batch.x, may),
            mask_sentence(y_key, batch.y, may),
        )
        return x, y, jax.nn.one_hot(of_x, vocab_size), jax.nn.one_hot(of_y, vocab_size)
    if generative == ["xtr"]:
        # crossed: each sentence is predicted from its translation
        q_y, q_x = (sentence_bag(ids, vocab_size) for ids in (batch.x, batch.y))
        return batch.x, batch.y, q_x, q_y
    return batch.x, batch.y, None, None
