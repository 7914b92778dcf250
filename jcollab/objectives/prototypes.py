"""Class prototypes: mean features or logits of the examples of each class.

A class without examples at a client has weight 0, and its row is ignored.
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
    """Class means and their weights, in a form that any linear mixer averages correctly.

    Mixers average ``values`` and ``weights`` in the same way, so that ``values / weights`` of the
    result is the mean over the clients that have the class.

    Attributes:
        values: weight times mean, ``[..., C, d]``.
        weights: weight of each class, ``[..., C]``; 0 for absent classes.

    Example:
        >>> prototypes = jc.objectives.prototypes
        >>> means, counts = jnp.array([[[1.0]], [[5.0]]]), jnp.array([[1.0], [0.0]])
        >>> sent = prototypes.weigh(means, counts)  # the second client has no example of the class
        >>> mixed = jax.tree.map(lambda leaf: leaf.mean(0), sent)
        >>> prototypes.unweigh(mixed)[0].tolist()
        [[1.0]]
    """

    values: Array
    weights: Array


class Received(NamedTuple):
    """The messages that one client receives from the others in a round.

    Attributes:
        means: averaged class means, ``[C, d]``.
        known: bool ``[C]``, False where no client has the class; its mean is 0.
        observations: means over a few examples of M other clients, ``[M, C, d]``.
        observed: bool ``[M, C]``, False where that client has no example of the class.
    """

    means: Array
    known: Array
    observations: Array
    observed: Array


def class_means(
    values: Array, labels: Array, num_classes: int, mask: Array | None = None
) -> tuple[Array, Array]:
    """Computes the mean of the values of every class, ``m_c = (1/k_c) sum_{j: y_j = c} v_j``.

    Args:
        values: ``[b, d]``.
        labels: int ``[b]`` in 0..C-1.
        num_classes: C.
        mask: bool ``[b]``, False for rows to ignore; None for no mask.

    Returns:
        Means ``[C, d]``, 0 for absent classes, and counts ``[C]`` in the dtype of the values. If a
        traced label is out of range, they are NaN.

    Raises:
        TypeError: if labels are not integers, or the mask is not boolean.
        ValueError: if a shape differs, or a label that is not traced is out of range.

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
    # A product with one-hot labels is faster than a scatter. The default precision of products on
    # accelerators would round the values.
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
    """Computes means over ``min(num_samples, k_c)`` random examples of each class.

    The examples are drawn without replacement; for ``num_samples >= k_c``, the means are the class
    means.

    Args:
        key: random key.
        values: ``[b, d]``.
        labels: int ``[b]``.
        num_classes: C.
        num_samples: at least 1; n_avg in the source.
        mask: as for :func:`class_means`.

    Returns:
        Means ``[C, d]``, and the number of examples of each ``[C]``.

    Raises:
        ValueError: if num_samples < 1.

    Example:
        >>> values, labels = jnp.ones((5, 3)), jnp.array([0, 0, 0, 1, 1])
        >>> key = jax.random.key(0)
        >>> sample = jax.jit(jc.objectives.prototypes.few_sample_means, static_argnums=(3, 4))
        >>> means, counts = sample(key, values, labels, 2, 1)
        >>> means.shape, counts.tolist()
        ((2, 3), [1.0, 1.0])

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """
    checks.count("num_samples", num_samples)
    checks.labels("labels", labels, (f"b={len(values)}",), num_classes)
    # Sorted by class, and at random within a class: the first examples of each class are a sample
    # without replacement. Masked rows form an additional class at the end.
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
    """Multiplies class means with their weights, which gives the form in which they are mixed.

    Args:
        means: ``[..., C, d]``.
        counts: number of examples of each mean, ``[..., C]``.
        by: ``"clients"`` gives equal weight to every client that has the class (a mean of means),
            ``"samples"`` gives equal weight to every example (the pooled mean).

    Raises:
        ValueError: for another ``by``.

    Example:
        >>> means, counts = jnp.array([[2.0], [0.0]]), jnp.array([3.0, 0.0])
        >>> sent = jc.objectives.prototypes.weigh(means, counts, by="samples")
        >>> sent.values.tolist(), sent.weights.tolist()
        ([[6.0], [0.0]], [3.0, 0.0])
    """
    checks.one_of("by", by, WEIGHTINGS)
    weights = counts if by == "samples" else (counts > 0).astype(means.dtype)
    return Prototypes(means * weights[..., None], weights)


def unweigh(mixed: Prototypes, own: Prototypes | None = None, own_share: Any = 0.0) -> tuple:
    """Computes class means from the result of a mixer, with or without the client's own part.

        m_c = (v_c - a v_c^own) / (w_c - a w_c^own)

    Args:
        mixed: result of the mixer.
        own: prototypes that the client sent; None to include them in the means.
        own_share: a, the weight of the client itself in the mixer: 1/n for a server or an
            all-reduce, ``W_ii`` for gossip; 0 includes the client's own part. ``[]`` or ``[n]``.

    Returns:
        Means ``[..., C, d]``, 0 for unknown classes, and which classes are known, bool
        ``[..., C]``.

    Example:
        >>> Prototypes = jc.objectives.prototypes.Prototypes
        >>> own = Prototypes(jnp.array([[2.0]]), jnp.array([1.0]))
        >>> mixed = Prototypes(jnp.array([[3.0]]), jnp.array([1.0]))  # of means 2 and 4, n = 2
        >>> means, known = jc.objectives.prototypes.unweigh(mixed, own, own_share=0.5)
        >>> means.tolist(), known.tolist()
        ([[4.0]], [True])
    """
    values, weights = mixed
    if own is not None and not (isinstance(own_share, (int, float)) and own_share == 0):
        share = jnp.asarray(own_share, weights.dtype)
        share = share.reshape(*share.shape, *(1,) * (weights.ndim - share.ndim))
        values = values - share[..., None] * own.values
        weights = weights - share * own.weights
    # A difference of weights that is 0 in exact arithmetic is a few roundings away from it. Without
    # the tolerance, a class that only the client itself has would be known, with a random mean.
    known = weights > 64 * jnp.finfo(weights.dtype).eps * jnp.maximum(1, mixed.weights)
    return jnp.where(known[..., None], values / jnp.where(known, weights, 1)[..., None], 0), known
