"""Partitions of examples over clients. Every function returns one index array per client.

The arrays are disjoint and together contain every example; no array is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jcollab import checks

Parts = list[np.ndarray]
MOST_TRIES = 10_000
TRIES_BEFORE_DOUBT = 100  # failed draws of a Dirichlet partition before a faster check


def iid(num_examples: int, n: int, *, seed: int = 0) -> Parts:
    """Shuffles the examples and splits them into n parts of equal size (up to one example).

    Args:
        num_examples: N.
        n: number of clients.
        seed: seed of the shuffle.

    Raises:
        ValueError: if there are fewer examples than clients.

    Example:
        >>> [len(part) for part in jc.data.iid(10, 3)]
        [4, 3, 3]
    """
    checks.count("n", n)
    _check_enough(num_examples, n, seed)
    return _nonempty(np.array_split(np.random.default_rng(seed).permutation(num_examples), n))


def stratified(labels: np.ndarray, n: int, *, seed: int = 0) -> Parts:
    """Splits into n parts of equal size in which every class has its share of the whole.

    The examples are shuffled, sorted by label, and dealt to the clients in turn. So sizes differ by
    at most one example, and so do the numbers of examples of each class.

    Args:
        labels: int ``[N]``, at least 0.
        n: number of clients.
        seed: seed of the shuffle.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if labels do not have shape ``[N]`` or are negative, or there are fewer examples
            than clients.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1])
        >>> [np.sort(labels[part]).tolist() for part in jc.data.stratified(labels, 2)]
        [[0, 0, 1], [0, 0, 1]]
    """
    labels = _labels(labels)
    checks.count("n", n)
    _check_enough(len(labels), n, seed)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return [order[i::n] for i in range(n)]


def by_label(labels: np.ndarray, n: int, *, shards_per_client: int = 1, seed: int = 0) -> Parts:
    """Sorts the examples by label and assigns the same number of contiguous shards to each client.

    Args:
        labels: int ``[N]``, at least 0.
        n: number of clients.
        shards_per_client: shards of equal size per client. With 1, client i gets the i-th shard;
            with more, shards are assigned at random (McMahan et al. 2017 use 2).
        seed: seed of the assignment.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if labels do not have shape ``[N]`` or are negative, or a shard would be empty.

    Example:
        >>> [part.tolist() for part in jc.data.by_label([1, 0, 1, 0], 2)]
        [[1, 3], [0, 2]]
    """
    labels = _labels(labels)
    checks.counts(n=n, shards_per_client=shards_per_client)
    _check_enough(len(labels), n * shards_per_client, seed)
    shards = np.array_split(np.argsort(labels, kind="stable"), n * shards_per_client)
    order = np.arange(len(shards))
    if shards_per_client > 1:
        order = np.random.default_rng(seed).permutation(order)
    return [np.concatenate([shards[s] for s in own]) for own in order.reshape(n, -1)]


def by_size(num_examples: int, fractions: Sequence[float] | np.ndarray, *, seed: int = 0) -> Parts:
    """Shuffles the examples and splits them into parts of given relative sizes.

    Args:
        num_examples: N.
        fractions: one positive number per client; they are scaled to sum to 1.
        seed: seed of the shuffle.

    Raises:
        ValueError: if a fraction is not positive and finite, or too small for one example.

    Example:
        >>> [len(part) for part in jc.data.by_size(10, [1, 4])]
        [2, 8]
    """
    share = np.asarray(fractions, float)
    if share.ndim != 1 or not len(share) or not (np.isfinite(share) & (share > 0)).all():
        raise ValueError(f"fractions must be positive numbers, got {fractions}")
    _check_enough(num_examples, len(share), seed)
    cuts = np.round(np.cumsum(share / share.sum()) * num_examples).astype(int)[:-1]
    return _nonempty(np.split(np.random.default_rng(seed).permutation(num_examples), cuts))


def dirichlet_sizes(
    num_examples: int, n: int, alpha: float, *, min_size: int = 1, seed: int = 0
) -> Parts:
    """Shuffles the examples and splits them into parts whose sizes come from a Dirichlet draw.

    Every client gets ``min_size`` examples, and a share ``q_i`` of the others, with
    ``q ~ Dirichlet(alpha, ..., alpha)``. Labels are as in the whole data.

    Args:
        num_examples: N.
        n: number of clients.
        alpha: concentration, > 0; large values are close to equal sizes, small ones give most
            examples to few clients.
        min_size: examples that every client gets.
        seed: seed of the draw and the shuffle.

    Raises:
        ValueError: if alpha is not positive and finite, min_size < 1, or there are fewer than
            ``n min_size`` examples.

    Example:
        >>> [len(part) for part in jc.data.dirichlet_sizes(100, 4, alpha=0.5)]
        [24, 1, 54, 21]

    Source: Li, Diao, Chen and He 2022, arXiv 2102.02079, section IV-E (quantity skew).
    """
    checks.finite(above=0, alpha=alpha)
    checks.counts(n=n, min_size=min_size)
    _check_enough(num_examples, n * min_size, seed)
    rng = np.random.default_rng(seed)
    # the cuts are rounded, not the sizes, so that the sizes sum to N
    share = np.cumsum(rng.dirichlet(np.full(n, alpha)))[:-1]
    cuts = np.round(share * (num_examples - n * min_size)).astype(int)
    return np.split(rng.permutation(num_examples), cuts + min_size * np.arange(1, n))


def by_time(times: np.ndarray, n: int) -> Parts:
    """Splits into n consecutive blocks in order of time, of equal size (up to one example).

    Args:
        times: ``[N]``, the time of each example: numbers, or ``datetime64``. Examples of the same
            time stay in the given order.
        n: number of clients; client 0 gets the earliest examples.

    Raises:
        TypeError: if times are neither numbers nor dates.
        ValueError: if times do not have shape ``[N]``, or contain NaN or NaT, or there are fewer
            examples than clients.

    Example:
        >>> [part.tolist() for part in jc.data.by_time([3.5, 0.0, 9.0, 1.0], 2)]
        [[1, 3], [0, 2]]
    """
    times = np.asarray(times)
    checks.count("n", n)
    if times.dtype.kind not in "iufM":
        raise TypeError(f"times must be numbers or datetime64, got {times.dtype}")
    if times.ndim != 1:
        raise ValueError(f"times must have shape [N], got {list(times.shape)}")
    missing = np.flatnonzero(times != times)  # true for NaN and NaT only
    if len(missing):
        raise ValueError(f"times must be known, got {times[missing[0]]} at index {missing[0]}")
    _check_enough(len(times), n, 0)
    return np.array_split(np.argsort(times, kind="stable"), n)


def by_user(owners: np.ndarray) -> Parts:
    """Returns the natural partition: one client for each user, in ascending order.

    Args:
        owners: ``[N]``, the user of each example, as a string or an integer.

    Raises:
        TypeError: if owners are not all strings or all integers.
        ValueError: if there are no examples.

    Example:
        >>> [part.tolist() for part in jc.data.by_user(["b", "a", "b"])]
        [[1], [0, 2]]
    """
    owners = checks.identities("owners", owners)
    if owners.ndim != 1 or not len(owners):
        raise ValueError(f"owners must have shape [N], N >= 1, got {list(owners.shape)}")
    order = np.argsort(owners, kind="stable")
    # split where the owner changes; strings have no difference, but their ranks do
    return np.split(
        order, np.flatnonzero(np.diff(np.unique(owners, return_inverse=True)[1][order])) + 1
    )


def dirichlet(
    labels: np.ndarray, n: int, alpha: float, *, seed: int = 0, group_size: int = 10
) -> Parts:
    """Draws label proportions from a Dirichlet distribution, and splits into parts of equal size.

    The examples are shuffled and divided among groups of at most ``group_size`` clients. In a
    group, each class is split over the clients by a draw from Dirichlet(alpha); clients that
    already have the mean number of examples get none. The draw is repeated until the smallest
    client has at least half the mean. The examples of all clients are then concatenated and split
    into n parts of equal size (up to one example), so that all clients have the same weight.

    Args:
        labels: int ``[N]``, at least 0.
        n: number of clients.
        alpha: concentration, > 0; large values are close to iid, with 0.01 a client has about one
            class.
        seed: seed of all draws.
        group_size: largest number of clients that share a draw.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if labels do not have shape ``[N]`` or are negative, alpha is not positive and
            finite, there are fewer examples than clients, or no draw gives every client half the
            mean.

    Example:
        >>> [len(part) for part in jc.data.dirichlet(np.arange(40) % 4, 4, alpha=0.1)]
        [10, 10, 10, 10]

    Source: Yurochkin et al. 2019; in this form Lin et al. 2021 and Vogels et al. 2021.
    """
    labels = _labels(labels)
    checks.finite(above=0, alpha=alpha)
    checks.counts(n=n, group_size=group_size)
    _check_enough(len(labels), n, seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    starts = range(0, n, group_size)
    cuts = [round(len(labels) * start / n) for start in starts][1:]
    # In one draw for many clients, it would be very unlikely that each gets half the mean.
    dealt: Parts = []
    for start, group in zip(starts, np.split(order, cuts), strict=True):
        dealt += _dirichlet_group(labels, group, min(group_size, n - start), alpha, rng)
    return _nonempty(np.array_split(np.concatenate(dealt), n))


def _dirichlet_group(
    labels: np.ndarray, group: np.ndarray, n: int, alpha: float, rng: np.random.Generator
) -> Parts:
    mean = len(group) / n
    for tried in range(MOST_TRIES):
        # Each try permutes all examples. After some failures, a simulation of the counts alone
        # shows whether further tries can succeed.
        if tried == TRIES_BEFORE_DOUBT and not _can_succeed(labels[group], n, alpha):
            break
        parts: list[list[np.ndarray]] = [[] for _ in range(n)]
        sizes = np.zeros(n)
        for label in np.unique(labels[group]):
            members = rng.permutation(group[labels[group] == label])
            share = np.where(sizes < mean, rng.dirichlet(np.full(n, alpha)), 0)
            # For small alpha, the draws of all clients below the mean may underflow to zero.
            if not share.sum() > 0:
                share = (sizes < mean).astype(float)
            cuts = (np.cumsum(share / share.sum()) * len(members)).astype(int)[:-1]
            for i, piece in enumerate(np.split(members, cuts)):
                parts[i].append(piece)
                sizes[i] += len(piece)
        if sizes.min() >= 0.5 * mean:
            return [np.concatenate(pieces) for pieces in parts]
    raise ValueError(
        f"alpha must be larger for {len(group)} examples of {len(np.unique(labels[group]))} "
        f"classes, got {alpha}: no draw in {MOST_TRIES} gave each of {n} clients half the mean; "
        "fewer clients or a smaller group_size also help"
    )


def _can_succeed(labels: np.ndarray, n: int, alpha: float) -> bool:
    """Returns whether one of many draws of counts alone gives each client half the mean."""
    rng, mean = np.random.default_rng(0), len(labels) / n
    dealt = np.zeros((MOST_TRIES, n))
    for size in np.unique(labels, return_counts=True)[1]:
        share = np.where(dealt < mean, rng.dirichlet(np.full(n, alpha), MOST_TRIES), 0)
        share = np.where(share.sum(1, keepdims=True) > 0, share, dealt < mean)
        cuts = (np.cumsum(share, 1) / share.sum(1, keepdims=True) * size).astype(int)
        cuts[:, -1] = size  # the shares may sum to slightly less than 1
        dealt += np.diff(cuts, prepend=0)
    return bool((dealt.min(1) >= 0.5 * mean).any())


def _labels(labels: Any) -> np.ndarray:
    checks.labels("labels", labels, ("N",))
    return np.asarray(labels)


def _check_enough(num_examples: int, least: int, seed: int) -> None:
    checks.seed("seed", seed)
    checks.count("num_examples", num_examples, 0)
    if num_examples < least:
        raise ValueError(
            f"num_examples must be at least the number of parts, {least}, got {num_examples}"
        )


def _nonempty(parts: Parts) -> Parts:
    for i, part in enumerate(parts):
        if not len(part):
            raise ValueError(
                f"every client must have at least one example, got none for client {i}; "
                "use fewer clients or other sizes"
            )
    return parts
