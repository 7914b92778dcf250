"""Class prototypes: means of what clients compute for the examples of each class.

A class of which a client has no example has weight 0, and its row is ignored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import one_hot

Array = jax.Array
WEIGHTINGS = ("clients", "samples")


class Prototypes(NamedTuple):
    """What clients send to be averaged, in a form in which any linear mixer gives a true mean.

    Sums and weights go the same way, and ``values / weights`` of what arrives is the mean over
    those that have the class.

    Attributes:
        values: weight times mean, ``[..., C, d]``.
        weights: of each class, ``[..., C]``; 0 where it is absent.
    """

    values: Array
    weights: Array


class Received(NamedTuple):
    """What one client knows of the others in a round.

    Attributes:
        means: averaged class means, ``[C, d]``.
        known: bool ``[C]``, False where no client has the class; its mean is 0.
        observations: means of a few examples of one client each, ``[M, C, d]``.
        observed: bool ``[M, C]``, False where that client has none of the class.
    """

    means: Array
    known: Array
    observations: Array
    observed: Array


def class_means(
    values: Array, labels: Array, num_classes: int, mask: Array | None = None
) -> tuple[Array, Array]:
    """Mean of the values of every class: ``m_c = (1/k_c) sum_{j: y_j = c} v_j``.

    Args:
        values: ``[b, d]``.
        labels: int ``[b]`` in 0..C-1.
        num_classes: C.
        mask: bool ``[b]``, False for rows that do not count; None counts all.

    Returns:
        Means ``[C, d]``, 0 for absent classes, and counts ``[C]`` in the type of the values; NaN
        where a label is out of range.

    Raises:
        TypeError: if labels are no integers, or the mask is no mask.
        ValueError: if a shape differs or, where labels are known, one is out of range.

    Example:
        >>> values, labels = jnp.array([[1.0], [3.0]]), jnp.array([1, 1])
        >>> means, counts = jc.objectives.prototypes.class_means(values, labels, num_classes=2)
        >>> means.tolist(), counts.tolist()
        ([[0.0], [2.0]], [0.0, 2.0])
    """
    checks.count("num_classes", num_classes)
    checks.labels("labels", labels, (f"b={len(values)}",), num_classes)
    member = one_hot(labels, num_classes, values.dtype, "labels")
    if mask is not None:
        checks.mask("mask", mask, labels.shape)
        member = jnp.where(mask[:, None], member, 0)
    counts = member.sum(0)
    sums = jnp.matmul(member.T, values, precision="highest")
    return sums / jnp.maximum(counts, 1)[:, None], counts


def few_sample_means(
    key: Array,
    values: Array,
    labels: Array,
    num_classes: int,
    num_samples: int,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Means over ``min(num_samples, k_c)`` random examples of every class, without replacement.

    With ``num_samples >= k_c`` they are the class means.

    Args:
        key: random key.
        values: ``[b, d]``.
        labels: int ``[b]``.
        num_classes: C.
        num_samples: at least 1; n_avg in the source.
        mask: as for :func:`class_means`.

    Returns:
        Means ``[C, d]`` and the numbers of examples in them ``[C]``.

    Raises:
        ValueError: if num_samples < 1.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """
    checks.count("num_samples", num_samples)
    checks.labels("labels", labels, (f"b={len(values)}",), num_classes)
    own = labels if mask is None else jnp.where(mask, labels, num_classes)
    order = jnp.lexsort((jax.random.uniform(key, own.shape, jnp.float32), own))
    ordered = own[order]
    rank = jnp.arange(len(own), dtype=jnp.int32) - jnp.searchsorted(
        ordered, ordered
    )  # place within the class
    chosen = jnp.zeros(own.shape, bool).at[order].set(rank < num_samples)
    chosen = chosen if mask is None else chosen & mask
    return class_means(values, labels, num_classes, chosen)


def weigh(means: Array, counts: Array, by: str = "clients") -> Prototypes:
    """Class means in the form in which they are mixed.

    Args:
        means: ``[..., C, d]``.
        counts: examples in them, ``[..., C]``.
        by: ``"clients"``, each that has the class counts alike (a mean of means), or
            ``"samples"``, each counts with its examples (the pooled mean).

    Raises:
        ValueError: for another ``by``.
    """
    checks.one_of("by", by, WEIGHTINGS)
    weights = counts if by == "samples" else (counts > 0).astype(means.dtype)
    return Prototypes(means * weights[..., None], weights)


def unweigh(mixed: Prototypes, own: Prototypes | None = None, own_share: Any = 0.0) -> tuple:
    """Means from what a mixer returned, with or without the client's own part.

        m_c = (v_c - a v_c^own) / (w_c - a w_c^own)

    Args:
        mixed: what arrived.
        own: what the client sent itself.
        own_share: a, the weight with which the mixer counted it: 1/n for a server or an
            all-reduce, ``W_ii`` for gossip; 0 keeps the own part in. ``[]`` or ``[n]``.

    Returns:
        Means ``[..., C, d]`` (0 where unknown), and bool ``[..., C]``, which ones are known.
    """
    values, weights = mixed
    if own is not None and not (isinstance(own_share, (int, float)) and own_share == 0):
        share = jnp.asarray(own_share, weights.dtype)
        share = share.reshape(*share.shape, *(1,) * (weights.ndim - share.ndim))
        values = values - share[..., None] * own.values
        weights = weights - share * own.weights
    # a difference of weights that should be 0 may be off by rounding
    known = weights > 64 * jnp.finfo(weights.dtype).eps * jnp.maximum(1, mixed.weights)
    return jnp.where(known[..., None], values / jnp.where(known, weights, 1)[..., None], 0), known
