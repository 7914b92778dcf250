"""What the weights are made of: the others' mean, and variances of means."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import widen
from jcollab.theory.averaging.common import Number, floats, library

PyTree = Any


def sampling_variance(variance: Number, num_samples: Number) -> Number:
    """Variance of the mean of N samples, ``s^2 / N``.

    Args:
        variance: s^2 >= 0, of a sample.
        num_samples: N >= 1.

    Raises:
        ValueError: for a variance that is negative or unknown (NaN), or N < 1.
    """
    checks.finite(arrays=True, at_least=0, variance=variance)
    checks.finite(arrays=True, at_least=1, num_samples=num_samples)
    _, variance, count = floats(variance, num_samples)
    return variance / count


def variance_of_mean(samples: Any, mask: Any = None) -> Any:
    """Unbiased estimate of the variance of the mean of samples: ``s^2 / N``, s^2 with N - 1.

    Args:
        samples: ``[..., N]``.
        mask: bool ``[..., N]``, which samples there are; None for all.

    Returns:
        ``[...]``; NaN where a mask that is being traced leaves fewer than 2.

    Raises:
        ValueError: if anywhere are fewer than 2 samples, from which no variance is known.
    """
    xp, samples = floats(samples)
    if samples.ndim == 0:
        raise ValueError("samples must have an axis [..., N], got a number")
    if mask is not None:
        checks.mask("mask", mask, samples.shape)
    shown = xp.ones(samples.shape, bool) if mask is None else xp.asarray(mask)
    count = xp.broadcast_to(shown, samples.shape).sum(-1)
    if not checks.traced(count) and np.any(np.asarray(count) < 2):
        raise ValueError(f"samples must have at least 2 entries of each client, got {count}")
    samples = xp.where(shown, samples, 0.0)
    mean = samples.sum(-1) / count
    deviation = xp.where(shown, samples - mean[..., None], 0.0)
    few = count < 2
    estimate = (deviation**2).sum(-1) / xp.where(few, 1, (count - 1) * count)
    return xp.where(few, xp.nan, estimate)


def others_mean(values: PyTree, counts: Any = None) -> PyTree:
    """The mean of all other clients: ``o_i = (sum_j c_j x_j - c_i x_i) / (sum_j c_j - c_i)``.

    Args:
        values: pytree with leaves ``[n, ...]``.
        counts: c ``[n]``, numbers of samples; None for 1 each.

    Returns:
        The pytree with leaves ``[n, ...]``, in float32 or wider.

    Raises:
        ValueError: with fewer than 2 clients, or counts that are not ``[n]`` positive numbers.
    """
    xp = library(values, counts)
    counts = check_client_counts(counts, layout.num_clients(values, "values"))
    rest = counts.sum() - counts

    def mean(leaf: Any) -> Any:
        wide = np.asarray(leaf, float) if xp is np else widen(jnp.asarray(leaf))
        share = xp.asarray(counts, wide.dtype).reshape(-1, *(1,) * (wide.ndim - 1))
        others = xp.asarray(rest, wide.dtype).reshape(share.shape)
        return ((share * wide).sum(0, keepdims=True) - share * wide) / others

    return jax.tree.map(mean, values)


def others_variance(variances: Any, counts: Any = None) -> Any:
    """Variance of :func:`others_mean`: ``sum_{j != i} c_j^2 V_j / (sum_{j != i} c_j)^2``.

    Args:
        variances: V ``[n]``, of each client's value; they are independent.
        counts: c ``[n]``; None for 1 each.

    Returns:
        ``[n]``.

    Raises:
        ValueError: for variances that are negative or not finite, and as :func:`others_mean`.
    """
    checks.finite(arrays=True, at_least=0, variances=variances)
    counts = check_client_counts(counts, np.shape(variances)[0] if np.ndim(variances) else 0)
    _, variances, counts = floats(variances, counts)
    weighted = counts**2 * variances
    return (weighted.sum() - weighted) / (counts.sum() - counts) ** 2


def squared_distance(left: PyTree, right: PyTree) -> Any:
    """``||x - y||^2`` over the whole pytree of one client."""

    def each(a: Any, b: Any) -> Any:
        xp, a, b = floats(a, b)
        return xp.sum((a - b) ** 2)

    return sum(jax.tree.leaves(jax.tree.map(each, left, right)))


def check_client_counts(counts: Any, n: int) -> Any:
    """Relative weights of n >= 2 clients, ``[n]``; ones where None.

    Raises:
        ValueError: with fewer than 2 clients, another length than n, or one that is not positive.
    """
    checks.count("n", n, 2)
    if counts is None:
        return np.ones(n)
    checks.finite(arrays=True, above=0, counts=counts)
    counts = counts if isinstance(counts, jax.Array) else np.asarray(counts, float)
    if np.shape(counts) != (n,):
        raise ValueError(f"counts must have shape [n={n}], got {np.shape(counts)}")
    return counts
