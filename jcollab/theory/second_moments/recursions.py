"""Recursions of second moments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jcollab import checks


def delayed_moments(
    learning_rate: Any,
    steps: int,
    *,
    noise_ratio: float = 0.0,
    delay: Any = 0,
    batch_size: float = 1,
    variance: float = 0.0,
    start: float = 1.0,
) -> np.ndarray:
    """Computes ``E|x(t)|^2`` of delayed SGD for t = 0..steps.

    The iteration is ``x(t+1) = x(t) - gamma g(x(t - tau_t))``, where ``x(t) = x(0)`` for t < 0.
    Delay 0 is mini-batch SGD. The Gram matrix ``P_kl = E<x(t-k), x(t-l)>`` of the last iterates
    follows

        new.new = P_00 - 2 gamma P_0tau + gamma^2 (1 + M/b) P_tautau + gamma^2 sigma^2 / b
        new.k = P_0k - gamma P_tauk

    Args:
        learning_rate: gamma >= 0, a number or an array of any shape.
        steps: T >= 0.
        noise_ratio: M >= 0.
        delay: tau >= 0, or int ``[T]``, one for each step
            (:func:`jcollab.theory.arrivals.delays_of`).
        batch_size: b >= 1.
        variance: sigma^2 >= 0.
        start: ``|x(0)|^2``.

    Returns:
        ``[steps + 1, ...]``, where ... is the shape of ``learning_rate``.

    Raises:
        TypeError: if a delay is not an integer.
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.second_moments.delayed_moments(0.5, 2, noise_ratio=1.0).tolist()
        [1.0, 0.5, 0.25]
    """
    check(noise_ratio=noise_ratio, batch_size=batch_size, variance=variance, steps=steps)
    rate = rates_of(learning_rate)

    def noise(old: np.ndarray) -> np.ndarray:
        return rate**2 * (noise_ratio * old + variance) / batch_size

    return _gram(rate, noise, delays_over(delay, steps), steps, np.full(rate.shape, float(start)))


def gaussian_moments(
    eigenvalues: Any,
    learning_rate: Any,
    steps: int,
    *,
    delay: Any = 0,
    batch_size: float = 1,
    label_noise: float = 0.0,
    start: Any = 1.0,
    until: float | None = None,
) -> np.ndarray:
    """Computes ``E x_j(t)^2`` of least squares with Gaussian features for t = 0..steps.

    Features are ``a ~ N(0, diag(lambda))``, gradients ``a (a'x - e)`` with ``E e^2 = s^2``. Without
    delay, the second moments m follow

        m+ = [diag((1 - gamma lambda)^2 + gamma^2 lambda^2 / b) + gamma^2 lambda lambda' / b] m
             + gamma^2 s^2 lambda / b

    Args:
        eigenvalues: lambda > 0, ``[d]``.
        learning_rate: gamma >= 0, a number or an array of any shape.
        steps: T >= 0.
        delay: as for :func:`delayed_moments`.
        batch_size: b >= 1.
        label_noise: s^2 >= 0, variance of the labels.
        start: ``x_j(0)^2``, ``[d]`` or one for all.
        until: the recursion ends once ``sum_j lambda_j x_j^2`` is at most this value for some
            learning rate; None for all steps.

    Returns:
        ``[steps + 1, ..., d]``, where ... is the shape of ``learning_rate``; or fewer steps.

    Raises:
        TypeError: if a delay is not an integer.
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.second_moments.gaussian_moments([1.0], 0.5, 2).tolist()  # M = d + 1 = 2
        [[1.0], [0.75], [0.5625]]
    """
    check(batch_size=batch_size, label_noise=label_noise, steps=steps)
    values = spectrum(eigenvalues)
    rate = rates_of(learning_rate)[..., None]

    def noise(old: np.ndarray) -> np.ndarray:
        # for Gaussian a, the covariance of a a'x is Lambda xx' Lambda + Lambda (x' Lambda x)
        spread = values**2 * old + values * ((old @ values)[..., None] + label_noise)
        return rate**2 * spread / batch_size

    def done(moments: np.ndarray) -> bool:
        return until is not None and bool(np.any(moments @ values <= until))

    first = np.broadcast_to(np.asarray(start, float), (*rate.shape[:-1], len(values)))
    return _gram(rate * values, noise, delays_over(delay, steps), steps, first, done)


def _gram(
    decay: np.ndarray,
    noise: Callable[[np.ndarray], np.ndarray],
    delays: np.ndarray,
    steps: int,
    start: np.ndarray,
    done: Callable[[np.ndarray], bool] = lambda moments: False,
) -> np.ndarray:
    """Computes the moments of ``x(t+1) = x(t) - decay x(t - tau) + noise``."""
    # a ring buffer: slot t mod L of the Gram matrix belongs to x(t), and L covers the largest delay
    length = int(delays.max(initial=0)) + 1
    gram = np.broadcast_to(start[..., None, None], (*start.shape, length, length)).copy()
    trajectory = [start]
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            now, old, new = t % length, (t - delays[t]) % length, (t + 1) % length
            row = gram[..., now, :] - decay[..., None] * gram[..., old, :]
            last = gram[..., old, old]
            own = gram[..., now, now] - 2 * decay * gram[..., now, old] + decay**2 * last
            own = own + noise(last)
            # the order matters: the row overwrites the diagonal, which is set last
            gram[..., new, :] = gram[..., :, new] = row
            gram[..., new, new] = own
            trajectory.append(own)
            if done(own):
                break
    return np.stack(trajectory)


def local_moments(
    eigenvalues: Any,
    learning_rate: Any,
    rounds: int,
    *,
    n: int,
    local_steps: int,
    label_noise: float = 0.0,
    start: Any = 1.0,
    until: float | None = None,
) -> np.ndarray:
    """Computes ``E x_j(t)^2`` of local SGD on least squares for t = 0..rounds.

    In a round, n clients take H steps each and then average their iterates. Let A be the matrix of
    one step of :func:`gaussian_moments` for b = 1, and C = diag((1 - gamma lambda)^2) the matrix of
    the product of two clients' iterates. Then

        m+ = (A^H / n + (1 - 1/n) C^H) m + (gamma^2 s^2 / n) (1 + A + ... + A^(H-1)) lambda

    Args:
        eigenvalues: lambda > 0, ``[d]``.
        learning_rate: gamma >= 0, a number or an array of any shape.
        rounds: T >= 0.
        n: number of clients, at least 1.
        local_steps: H >= 1.
        label_noise: s^2 >= 0.
        start: ``x_j(0)^2``, ``[d]`` or one for all.
        until: as for :func:`gaussian_moments`.

    Returns:
        ``[rounds + 1, ..., d]``, where ... is the shape of ``learning_rate``; or fewer rounds.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> local_moments = jc.theory.second_moments.local_moments
        >>> local_moments([1.0], 0.5, 1, n=2, local_steps=1).tolist()  # a mini-batch of 2
        [[1.0], [0.5]]
    """
    check(label_noise=label_noise, steps=rounds)
    checks.counts(n=n, local_steps=local_steps)
    values = spectrum(eigenvalues)
    rate = rates_of(learning_rate)[..., None]
    moments = np.broadcast_to(np.asarray(start, float), (*rate.shape[:-1], len(values)))
    trajectory = [moments]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(rounds):
            own, shared = moments, moments
            for _ in range(local_steps):
                spread = values**2 * own + values * ((own @ values)[..., None] + label_noise)
                own = (1 - rate * values) ** 2 * own + rate**2 * spread
                shared = (1 - rate * values) ** 2 * shared
            # of the n^2 products in the square of the mean, n are of one client with itself
            moments = own / n + (1 - 1 / n) * shared
            trajectory.append(moments)
            if until is not None and np.any(moments @ values <= until):
                break
    return np.stack(trajectory)


def rates_of(learning_rate: Any) -> np.ndarray:
    """Returns learning rates as an array; raises ValueError if one is negative."""
    checks.number("learning_rate", learning_rate, at_least=0, arrays=True)
    return np.asarray(learning_rate, float)


def spectrum(eigenvalues: Any) -> np.ndarray:
    """Returns eigenvalues as an array ``[d]``; raises ValueError if one is not positive."""
    values = np.asarray(eigenvalues, float)
    checks.number("eigenvalues", values, above=0, arrays=True)
    if values.ndim != 1 or values.size < 1:
        raise ValueError(f"eigenvalues must have shape [d], got {values.shape}")
    return values


def delays_over(delay: Any, steps: int) -> np.ndarray:
    """Returns the delay of every step; raises TypeError or ValueError if one is invalid."""
    delays = np.asarray(delay)
    if delays.dtype.kind not in "iu":
        raise TypeError(f"delay must be an integer or integers [T], got {delay!r}")
    checks.number("delay", delays, at_least=0, arrays=True)
    if delays.ndim > 1 or (delays.ndim and len(delays) < steps):
        raise ValueError(
            f"delay must be one integer or have shape [T={steps}], got shape {delays.shape}"
        )
    return np.broadcast_to(delays, (max(steps, 1),)) if delays.ndim == 0 else delays[:steps]


def check(**values: Any) -> None:
    """Raises ValueError if a number is negative or a batch size is below 1."""
    for name, value in values.items():
        if name in ("steps", "rounds"):
            checks.count(name, value, 0)
        checks.number(name, value, at_least=1 if name == "batch_size" else 0, arrays=True)
