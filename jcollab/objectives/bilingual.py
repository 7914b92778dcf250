"""Losses of a sentence encoder with the same weights for two languages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks
from jcollab.objectives.masking import MASK, PairBatch, drop_pieces, task_of

Array = jax.Array
TASKS = ("smlm", "xtr", "ugt", "align", "sim", "contrastive")
GENERATIVE = ("smlm", "xtr", "ugt")
ALIGNMENTS = ("dot", "cosine")
SIMILARITIES = ("released", "ems")


def batch_kl(target: Array, logits: Array) -> Array:
    """Computes ``(1/b) sum_i sum_{v: q > 0} q (log q - log p)``, with p the softmax of the logits.

    It may be negative if the target q sums to less than 1.
    """
    log_p = jax.nn.log_softmax(logits, -1)
    # log 0 would give 0 * -inf = NaN
    safe = jnp.where(target > 0, target, 1)
    return (target * (jnp.log(safe) - log_p)).sum() / len(target)


def alignment(s: Array, t: Array, form: str = "dot", temperature: float = 0.1) -> Array:
    """Computes the contrastive loss of translations within a batch, in both directions.

        dot     CE(A, diag) + CE(A^T, diag),   A_ij = <s_i, t_j>
        cosine  the mean of the two,           A_ij = cos(s_i, t_j) / temperature   (EMS)

    It is at least 0. If all vectors are equal, it is 2 log b for ``"dot"`` and log b for
    ``"cosine"``.

    Args:
        s: sentence vectors ``[b, d]``.
        t: vectors of the translations ``[b, d]``.
        form: ``"dot"`` or ``"cosine"``.
        temperature: temperature of ``"cosine"``, positive.

    Raises:
        ValueError: for another form, a temperature that is not positive, or shapes that differ.

    Example:
        >>> s = jnp.ones((4, 2))
        >>> round(float(jc.objectives.alignment(s, s)), 3)  # 2 log 4
        2.773

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
    """Computes the contrastive loss of cosines in both directions, with a margin.

        (1/2) ( CE(A, diag) + CE(A^T, diag) ),   A_ij = (cos(s_i, t_j) - m 1[i = j]) / temperature

    Pairs that share a sentence are not used as negatives of each other.

    Args:
        s: sentence vectors ``[b, d]``.
        t: vectors of the translations ``[b, d]``.
        temperature: positive.
        same: bool ``[b, b]``, whether pairs i and j share a sentence; None if no pairs do.
        margin: m >= 0, by which the cosine of a translation must exceed the others.

    Raises:
        ValueError: if the temperature is not positive, the margin is negative, or shapes differ.

    Example:
        >>> s = jnp.ones((4, 2))
        >>> round(float(jc.objectives.contrastive(s, s)), 3)  # log 4
        1.386
        >>> shared = jnp.ones((4, 4), bool)  # no negatives are left
        >>> round(float(jc.objectives.contrastive(s, s, same=shared)), 3)
        0.0

    Source: for the margin, Yang et al. 2019, arXiv 1902.08564.
    """
    checks.number("temperature", temperature, above=0)
    checks.number("margin", margin, at_least=0)
    checks.same_shapes("t", t, s)
    pairs = jnp.eye(len(s), dtype=bool)
    scores = (_unit(s) @ _unit(t).T - margin * pairs) / temperature
    if same is not None:
        # finite, so that differences of scores stay defined
        scores = jnp.where(same & ~pairs, -1e9, scores)
    return _contrast(scores) / 2


def similarity_structure(s: Array, t: Array, form: str = "released") -> Array:
    """Computes how much the similarities of sentences differ between the two languages.

        P = softmax(S S^T),  Q = softmax(T T^T)   by rows, with the diagonal
        released  - sum_ij log cos( (pi/2) (P_ij - Q_ij) )
        ems       - (b-1)^-2 sum_ij log cos( pi (P_ij - Q_ij) ),  of unit vectors

    It is 0 if and only if P = Q. The released form is a sum, which grows with b. The formula of
    ``"ems"`` is not finite for ``|P - Q| >= 1/2``, where the angle is clipped.

    Args:
        s: sentence vectors ``[b, d]``.
        t: vectors of the translations ``[b, d]``.
        form: ``"released"`` or ``"ems"``.

    Raises:
        ValueError: for another form.

    Example:
        >>> s = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> turned = s[:, ::-1]  # other vectors with the same inner products
        >>> abs(float(jc.objectives.similarity_structure(s, turned)))
        0.0

    Source: Mao et al. 2021, arXiv 2105.13856; Mao et al. 2022, arXiv 2205.15744.
    """
    checks.one_of("form", form, SIMILARITIES)
    # In half precision, |P - Q| may round to 1, where the logarithm of the cosine is infinite.
    s, t = (v.astype(jnp.promote_types(v.dtype, jnp.float32)) for v in (s, t))
    if form == "ems":
        s, t = _unit(s), _unit(t)
    p, q = (jax.nn.softmax(v @ v.T, -1) for v in (s, t))
    # below pi/2 by more than the rounding of float32, so that the cosine is positive
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
    """Builds the loss of an encoder with the same weights for both languages.

        L = L_generative + w1 L_align + w2 L_sim (+ L_contrastive)

    At most one task is generative. ``"ugt"`` predicts the removed piece and the other sentence from
    the masked side, and the masked side from the other. ``"smlm"`` predicts only the removed pieces
    of both sides. ``"xtr"`` predicts each sentence from the other. The defaults are those of the
    released code.

    Args:
        apply: ``apply(params, ids, train, rngs=...) -> (vectors [2 b, d], logits [2 b, V])``, for
            both sides in one batch; for example the ``apply`` of a
            :class:`jcollab.models.SharedEncoder`.
        vocab_size: V.
        tasks: terms of the loss, among ``"smlm"``, ``"xtr"``, ``"ugt"``, ``"align"``, ``"sim"`` and
            ``"contrastive"``.
        maskable: bool ``[V]``, pieces that may be masked; None for all except the special ones.
        weights: w1 and w2.
        align: form of :func:`alignment`.
        sim: form of :func:`similarity_structure`.
        temperature: temperature of cosines.
        margin: margin of ``"contrastive"``.
        project: ``project(params, vectors) -> vectors``, applied to the vectors in all terms but
            the generative one, as in EMS; None for the vectors themselves.
        drop: probability with which a piece is removed from a sentence, in [0, 1).

    Returns:
        ``loss(params, batch, key) -> (value, metrics)`` for batches :class:`PairBatch`; metrics are
        the terms by name. If a batch has ``x_id`` or ``y_id``, pairs that share a sentence are not
        used as negatives in ``"contrastive"``.

    Raises:
        ValueError: for an unknown task, no task, two generative tasks, or a ``maskable`` that does
            not fit.

    Example:
        >>> model = jc.models.BagEncoder(vocab_size=20, width=4)
        >>> batch = jc.objectives.PairBatch(x=jnp.array([[7, 8, 9]]), y=jnp.array([[5, 6, 0]]))
        >>> params = jax.eval_shape(model.init, jax.random.key(0), batch.x)
        >>> loss = jc.objectives.crosslingual(model.apply, vocab_size=20)
        >>> value, metrics = jax.eval_shape(loss, params, batch, jax.random.key(0))
        >>> sorted(metrics)
        ['align', 'sim', 'ugt']

    Source: Mao, Gupta, Wang, Chu, Jaggi and Kurohashi 2021, arXiv 2105.13856. The released code
    does not show how SMLM treats the other side; here both sides are masked.
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
        x, y, q_x, q_y = task_of(generative, mask_key, batch, may, vocab_size)
        if checks.traced(drop) or drop:
            x, y = (
                drop_pieces(jax.random.fold_in(k, 1), ids, drop)
                for ids, k in zip((x, y), drop_keys, strict=True)
            )
        # Both languages have the same weights, so one pass over 2 b sentences is enough.
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


def _stacked(x: Array, y: Array) -> Array:
    """Returns both sides as one batch, int ``[2 b, L]``, padded to the longer of the two."""
    length = max(x.shape[1], y.shape[1])
    return jnp.concatenate([jnp.pad(ids, ((0, 0), (0, length - ids.shape[1]))) for ids in (x, y)])


def _same(batch: PairBatch) -> Array | None:
    """Returns which pairs share a sentence, bool ``[b, b]``, or None if the batch has no ids."""
    sides = [side for side in (batch.x_id, batch.y_id) if side is not None]
    if not sides:
        return None
    return jnp.stack([side[:, None] == side[None, :] for side in sides]).any(0)


def _contrast(scores: Array) -> Array:
    """Computes the sum of both cross-entropies, by rows and by columns."""
    own, cost = jnp.arange(len(scores)), optax.softmax_cross_entropy_with_integer_labels
    return cost(scores, own).mean() + cost(scores.T, own).mean()


def _unit(v: Array) -> Array:
    square = jnp.square(v).sum(-1, keepdims=True)
    # bounded from below inside of the root: the gradient of the norm is not finite at 0
    return v * jax.lax.rsqrt(jnp.maximum(square, 1e-18))
