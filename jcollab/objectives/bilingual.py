"""Losses of a sentence encoder that two languages share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks

Array = jax.Array
MASK = 2  # the piece that stands for a removed one
TASKS = ("smlm", "xtr", "ugt", "align", "sim", "contrastive")
GENERATIVE = ("smlm", "xtr", "ugt")
ALIGNMENTS = ("dot", "cosine")
SIMILARITIES = ("released", "ems")


class PairBatch(NamedTuple):
    """Sentences and their translations, in pieces; 0 is padding.

    Attributes:
        x: int32 ``[b, L]``.
        y: int32 ``[b, L]``.
        x_id: int32 ``[b]``, equal where sentences are; None if that does not matter.
        y_id: likewise of y.
    """

    x: Array
    y: Array
    x_id: Array | None = None
    y_id: Array | None = None


class Masked(NamedTuple):
    """A batch of which one piece of one side is masked.

    Attributes:
        x: int32 ``[b, L]``.
        y: int32 ``[b, L]``.
        word: int32 ``[b]``, the piece that was removed.
        in_x: bool ``[b]``, whether it was in x.
    """

    x: Array
    y: Array
    word: Array
    in_x: Array


def mask_one(key: Array, batch: PairBatch, maskable: Array) -> Masked:
    """Masks one piece of one side of every pair.

    The side is x with probability 1/2, the position uniform among maskable pieces. Where the side
    has none (punctuation alone), the other one is masked; where neither has, any piece of it.

    Args:
        key: random key.
        batch: pairs.
        maskable: bool ``[V]``, False for punctuation.

    Returns:
        The masked batch.

    Source: Mao et al. 2021, arXiv 2105.13856.
    """
    side_key, x_key, y_key = jax.random.split(key, 3)
    wish = jax.random.bernoulli(side_key, jnp.float32(0.5), batch.x.shape[:1])
    may_x, may_y = ((maskable[ids] & (ids > 0)).any(1) for ids in (batch.x, batch.y))
    in_x = jnp.where(wish, may_x | ~may_y, may_x & ~may_y)
    new_x, from_x = mask_sentence(x_key, batch.x, maskable)
    new_y, from_y = mask_sentence(y_key, batch.y, maskable)
    x = jnp.where(in_x[:, None], new_x, batch.x)
    y = jnp.where(in_x[:, None], batch.y, new_y)
    return Masked(x, y, jnp.where(in_x, from_x, from_y), in_x)


def mask_sentence(key: Array, ids: Array, maskable: Array) -> tuple[Array, Array]:
    """Masks one piece of every sentence: the new ``[b, L]``, and what was removed ``[b]``.

    The position is uniform among maskable pieces, among all where there are none of them.
    """
    may = maskable[ids] & (ids > 0)
    may = jnp.where(may.any(1, keepdims=True), may, ids > 0)
    place = jnp.argmax(jnp.where(may, jax.random.uniform(key, ids.shape, jnp.float32), -1), 1)
    rows = jnp.arange(len(ids))
    word = ids[rows, place]
    return ids.at[rows, place].set(jnp.where(word > 0, MASK, 0)), word


def drop_pieces(key: Array, ids: Array, chance: float) -> Array:
    """Pieces ``[b, L]`` of which each may be left out; a sentence that would lose all stays.

    Source: Iyyer et al. 2015, ACL (word dropout of bags).
    """
    kept = jnp.where(jax.random.bernoulli(key, jnp.float32(chance), ids.shape), 0, ids)
    return jnp.where((kept > 0).any(1, keepdims=True), kept, ids)


def sentence_bag(ids: Array, vocab_size: int, weight: float | Array = 1.0) -> Array:
    """The pieces of each sentence as a soft target: ``U_t(v) = 1/|t| for v in set(t)``.

    |t| counts repetitions and the set does not, so a row may sum to less than 1.

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
    # padding names a class beyond the last one, which is dropped
    places = jnp.where(there, ids, vocab_size)
    empty = jnp.zeros((len(ids), vocab_size))
    return empty.at[rows, places].set(jnp.broadcast_to(share, ids.shape), mode="drop")


def unified_targets(batch: Masked, vocab_size: int) -> tuple[Array, Array]:
    """Targets of the unified generative task, for both sides.

        masked side    q(v) = 1/2 [v = w] + 1/2 U_other(v)
        other side     q(v) = U_masked(v)

    Where w also occurs in the other sentence, ``1/(2 |other|)`` takes the place of 1/2.

    Args:
        batch: with one masked piece.
        vocab_size: V.

    Returns:
        ``[b, V]`` for the prediction from x, and for that from y.

    Source: Mao et al. 2021, arXiv 2105.13856 (UGT), as released.
    """
    of_x, of_y = (sentence_bag(ids, vocab_size) for ids in (batch.x, batch.y))
    word = jax.nn.one_hot(batch.word, vocab_size)

    def masked(other: Array) -> Array:
        return jnp.where(other > 0, other / 2, word / 2)

    in_x = batch.in_x[:, None]
    return jnp.where(in_x, masked(of_y), of_y), jnp.where(in_x, of_x, masked(of_x))


def batch_kl(target: Array, logits: Array) -> Array:
    """``(1/b) sum_i sum_{v: q > 0} q (log q - log p)``, with p the softmax of the logits.

    Where the target sums to less than 1 it may be negative.
    """
    log_p = jax.nn.log_softmax(logits, -1)
    safe = jnp.where(target > 0, target, 1)
    return (target * (jnp.log(safe) - log_p)).sum() / len(target)


def alignment(s: Array, t: Array, form: str = "dot", temperature: float = 0.1) -> Array:
    """In-batch contrast in both directions.

        dot     CE(A, diag) + CE(A^T, diag),   A_ij = <s_i, t_j>
        cosine  the mean of the two,           A_ij = cos(s_i, t_j) / temperature   (EMS)

    It is at least 0, and for identical vectors 2 log b and log b.

    Args:
        s: sentence vectors ``[b, d]``.
        t: those of the translations ``[b, d]``.
        form: which of the above.
        temperature: of the second.

    Raises:
        ValueError: for another form, a temperature that is not positive, or shapes that differ.

    Source: Mao et al. 2021, arXiv 2105.13856; Mao et al. 2022, arXiv 2205.15744.
    """
    checks.one_of("form", form, ALIGNMENTS)
    checks.same_shapes("t", t, s)
    if form == "dot":
        return _contrast(s @ t.T)
    checks.number("temperature", temperature, above=0)
    return _contrast(_unit(s) @ _unit(t).T / temperature) / 2


def contrastive(
    s: Array,
    t: Array,
    temperature: float = 0.05,
    same: Array | None = None,
    margin: float = 0.0,
) -> Array:
    """Contrast of cosines in both directions; pairs that share a sentence are no negatives.

        (1/2) ( CE(A, diag) + CE(A^T, diag) ),   A_ij = (cos(s_i, t_j) - m 1[i = j]) / temperature

    Args:
        s: sentence vectors ``[b, d]``.
        t: those of the translations ``[b, d]``.
        temperature: positive.
        same: bool ``[b, b]``, pairs i and j of which share a side; None for none.
        margin: m, by which translations have to be nearer than others, at least 0.

    Raises:
        ValueError: if the temperature is not positive, the margin is negative, or shapes differ.

    Source of the margin: Yang et al. 2019, arXiv 1902.08564.
    """
    checks.number("temperature", temperature, above=0)
    checks.number("margin", margin, at_least=0)
    checks.same_shapes("t", t, s)
    pairs = jnp.eye(len(s), dtype=bool)
    scores = (_unit(s) @ _unit(t).T - margin * pairs) / temperature
    if same is not None:
        scores = jnp.where(same & ~pairs, -1e9, scores)
    return _contrast(scores) / 2


def similarity_structure(s: Array, t: Array, form: str = "released") -> Array:
    """How alike the similarities are within each language.

        P = softmax(S S^T),  Q = softmax(T T^T)   by rows, with the diagonal
        released  - sum_ij log cos( (pi/2) (P_ij - Q_ij) )
        ems       - (b-1)^-2 sum_ij log cos( pi (P_ij - Q_ij) ),  of unit vectors

    It is 0 if and only if P = Q. As a sum, the released form grows with b. The second is infinite
    from ``|P - Q| = 1/2`` on; there the angle is cut off.

    Args:
        s: sentence vectors ``[b, d]``.
        t: those of the translations ``[b, d]``.
        form: which of the above.

    Raises:
        ValueError: for another form.

    Source: Mao et al. 2021, arXiv 2105.13856; Mao et al. 2022, arXiv 2205.15744.
    """
    checks.one_of("form", form, SIMILARITIES)
    # in half precision |P - Q| may round to 1
    s, t = (v.astype(jnp.promote_types(v.dtype, jnp.float32)) for v in (s, t))
    if form == "ems":
        s, t = _unit(s), _unit(t)
    p, q = (jax.nn.softmax(v @ v.T, -1) for v in (s, t))
    limit = jnp.pi / 2 * (1 - 1e-6)
    angle = (jnp.pi / 2 if form == "released" else jnp.pi) * (p - q)
    total = -jnp.log(jnp.cos(jnp.clip(angle, -limit, limit))).sum()
    return total if form == "released" else total / max(len(s) - 1, 1) ** 2


def crosslingual(
    apply: Callable[..., tuple[Array, Array]],
    vocab_size: int,
    tasks: Sequence[str] = ("ugt", "align", "sim"),
    *,
    maskable: Any = None,
    weights: tuple[float, float] = (2.0, 2.0),
    align: str = "dot",
    sim: str = "released",
    temperature: float = 0.05,
    margin: float = 0.0,
    project: Callable[[Any, Array], Array] | None = None,
    drop: float = 0.0,
) -> Callable[[Any, PairBatch, Array], tuple[Array, dict[str, Array]]]:
    """The loss of an encoder that passes both languages through the same weights.

        L = L_generative + w1 L_align + w2 L_sim (+ L_contrastive)

    ``"ugt"`` predicts, from the masked side, the removed piece and the other sentence, and from the
    other side the masked one; ``"smlm"`` the removed piece alone, of both sides; ``"xtr"`` each
    sentence from the other. At most one of the three; the defaults are the released ones.

    Args:
        apply: ``apply(params, ids, train, rngs=...) -> (vectors [2 b, d], logits [2 b, V])``, for
            both sides in one batch.
        vocab_size: V.
        tasks: which terms, of smlm, xtr, ugt, align, sim, contrastive.
        maskable: bool ``[V]``, pieces that may be masked; None for all but the special ones.
        weights: w1 and w2.
        align: form of :func:`alignment`.
        sim: form of :func:`similarity_structure`.
        temperature: of cosines.
        margin: of ``"contrastive"``.
        project: ``project(params, vectors) -> vectors`` of the contrastive terms, as EMS has one;
            None for the vectors themselves.
        drop: chance that a piece is left out of a sentence, see :func:`drop_pieces`.

    Returns:
        ``loss(params, batch, key) -> (value, metrics)`` for batches :class:`PairBatch`; metrics are
        the terms by name. Where a batch has ``x_id`` and ``y_id``, pairs that share a sentence are
        no negatives of ``"contrastive"``.

    Raises:
        ValueError: for an unknown task, none, two generative ones, or a ``maskable`` that does not
            fit.

    Source: Mao, Gupta, Wang, Chu, Jaggi and Kurohashi 2021, arXiv 2105.13856. What SMLM does with
    the other side is not in the released code: here both sides are masked.
    """
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if not tasks or not set(tasks) <= set(TASKS):
        raise ValueError(f"tasks must be among {', '.join(TASKS)}, got {tasks}")
    generative = [task for task in tasks if task in GENERATIVE]
    if len(generative) > 1:
        raise ValueError(f"tasks must have at most one of {', '.join(GENERATIVE)}, got {tasks}")
    checks.number("drop", drop, at_least=0, below=1)
    checks.number("margin", margin, at_least=0)
    checks.one_of("align", align, ALIGNMENTS)
    checks.one_of("sim", sim, SIMILARITIES)
    checks.number("temperature", temperature, above=0)
    may = jnp.arange(vocab_size) > MASK if maskable is None else jnp.asarray(maskable)
    if may.shape != (vocab_size,) or may.dtype != bool:
        raise ValueError(f"maskable must be bool [V={vocab_size}], got {may.dtype} {may.shape}")

    def loss(params: Any, batch: PairBatch, key: Array) -> tuple[Array, dict[str, Array]]:
        mask_key, *drop_keys = jax.random.split(key, 3)
        x, y, q_x, q_y = _task(generative, mask_key, batch, may, vocab_size)
        if checks.traced(drop) or drop:
            x, y = (
                drop_pieces(jax.random.fold_in(k, 1), ids, drop)
                for ids, k in zip((x, y), drop_keys, strict=True)
            )
        # in one pass, as both languages share the weights
        vectors, logits = apply(params, _stacked(x, y), True, rngs={"dropout": drop_keys[0]})
        (s, t), (from_x, from_y) = jnp.split(vectors, 2), jnp.split(logits, 2)
        terms = {}
        if generative:
            terms[generative[0]] = batch_kl(q_x, from_x) + batch_kl(q_y, from_y)
        if project is not None:
            s, t = project(params, s), project(params, t)
        if "align" in tasks:
            terms["align"] = alignment(s, t, align, temperature)
        if "sim" in tasks:
            terms["sim"] = similarity_structure(s, t, sim)
        if "contrastive" in tasks:
            terms["contrastive"] = contrastive(s, t, temperature, _same(batch), margin)
        factor = {"align": weights[0], "sim": weights[1]}
        total = jnp.stack([factor.get(name, 1.0) * value for name, value in terms.items()]).sum()
        return total, terms

    return loss


def _task(
    generative: Sequence[str], key: Array, batch: PairBatch, may: Array, vocab_size: int
) -> tuple[Array, Array, Any, Any]:
    """What both sides look like and what is to be predicted from each."""
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
        q_y, q_x = (sentence_bag(ids, vocab_size) for ids in (batch.x, batch.y))
        return batch.x, batch.y, q_x, q_y
    return batch.x, batch.y, None, None


def _stacked(x: Array, y: Array) -> Array:
    """Both as one batch, int ``[2 b, L]``, with the longer L of the two."""
    length = max(x.shape[1], y.shape[1])
    return jnp.concatenate([jnp.pad(ids, ((0, 0), (0, length - ids.shape[1]))) for ids in (x, y)])


def _same(batch: PairBatch) -> Array | None:
    sides = [side for side in (batch.x_id, batch.y_id) if side is not None]
    if not sides:
        return None
    return jnp.stack([side[:, None] == side[None, :] for side in sides]).any(0)


def _contrast(scores: Array) -> Array:
    """Sum of both directions."""
    own, cost = jnp.arange(len(scores)), optax.softmax_cross_entropy_with_integer_labels
    return cost(scores, own).mean() + cost(scores.T, own).mean()


def _unit(v: Array) -> Array:
    square = jnp.square(v).sum(-1, keepdims=True)
    return v * jax.lax.rsqrt(jnp.maximum(square, 1e-18))
