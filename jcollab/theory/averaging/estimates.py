"""Quantities that weights are computed from: the others' mean, and variances of means."""

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
    """Computes the variance of the mean of N samples, ``s^2 / N``.

    Args:
        variance: s^2 >= 0, of a sample.
        num_samples: N >= 1.

    Raises:
        ValueError: if the variance is negative or not finite, or N < 1.

    Example:
        >>> float(jc.theory.averaging.sampling_variance(4.0, num_samples=8))
        0.5
    """
    checks.finite(arrays=True, at_least=0, variance=variance)
    checks.finite(arrays=True, at_least=1, num_samples=num_samples)
    _, variance, count = floats(variance, num_samples)
    return variance / count


def variance_of_mean(samples: Any, mask: Any = None) -> Any:
    """Estimates the variance of the mean of samples, ``s^2 / N``, without bias.

    The sample variance ``s^2`` is divided by N - 1.

    Args:
        samples: ``[..., N]``.
        mask: bool ``[..., N]``, true for samples that are used; None for all.

    Returns:
        ``[...]``; NaN where a traced mask selects fewer than 2 samples.

    Raises:
        ValueError: if a mean has fewer than 2 samples, from which no variance can be estimated.

    Example:
        >>> float(jc.theory.averaging.variance_of_mean([1.0, 2.0, 3.0, 4.0, 5.0]))  # 2.5 / 5
        0.5
    """
    xp, samples = floats(samples)
    if samples.ndim == 0:
        raise ValueError("samples must be [..., N], got a number")
    if mask is not None:
        checks.mask("mask", mask, samples.shape)
    shown = xp.ones(samples.shape, bool) if mask is None else xp.asarray(mask)
    count = xp.broadcast_to(shown, samples.shape).sum(-1)
    if not checks.traced(count) and np.any(np.asarray(count) < 2):
        raise ValueError(f"samples must have at least 2 entries per client, got {count}")
    samples = xp.where(shown, samples, 0.0)
    mean = samples.sum(-1) / count
    deviation = xp.where(shown, samples - mean[..., None], 0.0)
    few = count < 2
    # a traced mask cannot be checked: its result is NaN, through a denominator that is never 0
    estimate = (deviation**2).sum(-1) / xp.where(few, 1, (count - 1) * count)
    return xp.where(few, xp.nan, estimate)


def others_mean(values: PyTree, counts: Any = None) -> PyTree:
    """Computes, for each client, the mean of all other clients.

        o_i = (sum_j c_j x_j - c_i x_i) / (sum_j c_j - c_i)

    Args:
        values: x, a pytree with leaves ``[n, ...]``.
        counts: c ``[n]``, sample counts; None for 1 each.

    Returns:
        o, the pytree with leaves ``[n, ...]``, in float32 or wider.

    Raises:
        ValueError: if there are fewer than 2 clients, or counts are not ``[n]`` positive numbers.

    Example:
        >>> jc.theory.averaging.others_mean(np.array([1.0, 2.0, 6.0])).tolist()
        [4.0, 3.5, 1.5]
    """
    xp = library(values, counts)
    counts = check_client_counts(counts, layout.num_clients(values, "values"))
    rest = counts.sum() - counts

    # one sum for all clients, less each client's term: O(n), not O(n^2)
    def mean(leaf: Any) -> Any:
        wide = np.asarray(leaf, float) if xp is np else widen(jnp.asarray(leaf))
        share = xp.asarray(counts, wide.dtype).reshape(-1, *(1,) * (wide.ndim - 1))
        others = xp.asarray(rest, wide.dtype).reshape(share.shape)
        return ((share * wide).sum(0, keepdims=True) - share * wide) / others

    return jax.tree.map(mean, values)


def others_variance(variances: Any, counts: Any = None) -> Any:
    """Computes the variance of :func:`others_mean` for independent clients.

        sum_{j != i} c_j^2 V_j / (sum_{j != i} c_j)^2

    Args:
        variances: V ``[n]``, of each client's value.
        counts: c ``[n]``, sample counts; None for 1 each.

    Returns:
        ``[n]``.

    Raises:
        ValueError: if a variance is negative or not finite, and as for :func:`others_mean`.

    Example:
        >>> jc.theory.averaging.others_variance([1.0, 1.0, 3.0]).tolist()  # (1 + 3) / 4, ...
        [1.0, 1.0, 0.5]
    """
    checks.finite(arrays=True, at_least=0, variances=variances)
    counts = check_client_counts(counts, np.shape(variances)[0] if np.ndim(variances) else 0)
    _, variances, counts = floats(variances, counts)
    weighted = counts**2 * variances
    return (weighted.sum() - weighted) / (counts.sum() - counts) ** 2


def squared_distance(left: PyTree, right: PyTree) -> Any:
    """Computes ``||x - y||^2`` over all leaves of the pytrees of one client.

    Example:
        >>> x, y = {"w": np.zeros(2), "b": 1.0}, {"w": np.ones(2), "b": 3.0}
        >>> float(jc.theory.averaging.squared_distance(x, y))  # 1 + 1 + 4
        6.0
    """

    def each(a: Any, b: Any) -> Any:
        xp, a, b = floats(a, b)
        return xp.sum((a - b) ** 2)

    return sum(jax.tree.leaves(jax.tree.map(each, left, right)))


def check_client_counts(counts: Any, n: int) -> Any:
    """Checks counts ``[n]`` of n >= 2 clients and returns them as an array; ones for None.

    Raises:
        ValueError: if there are fewer than 2 clients, the length is not n, or a count is not
            positive.
    """
    checks.count("n", n, 2)
    if counts is None:
        return np.ones(n)
    checks.finite(arrays=True, above=0, counts=counts)
    counts = counts if isinstance(counts, jax.Array) else np.asarray(counts, float)
    if np.shape(counts) != (n,):
        raise ValueError(f"counts must have shape [n={n}], got {np.shape(counts)}")
    return counts
