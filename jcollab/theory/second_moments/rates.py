"""Rates, limits and the best learning rate, from the recursions in closed form."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from jcollab import checks
from jcollab.theory.second_moments.recursions import check, delays_over, rates_of, spectrum

TINY = 1e-12


class Tuned(NamedTuple):
    """The best learning rate and what it gives.

    Attributes:
        learning_rate: gamma.
        rate: factor of the second moment per step, rho.
        steps: steps to the target, a real number.
    """

    learning_rate: float
    rate: float
    steps: float


def stability_limit(delay: int, *, noise_ratio: float = 0.0, batch_size: float = 1) -> float:
    """The learning rate below which second moments stay bounded, at curvature 1.

    Without noise, ``2 sin(pi / (2 (2 tau + 1)))``; without delay, ``2 / (1 + M/b)``; with both,
    where ``gamma^2 (M/b) sum_t h_t^2 = 1`` for the impulse response
    ``h_t = h_{t-1} - gamma h_{t-1-tau}``.

    Args:
        delay: tau >= 0.
        noise_ratio: M >= 0.
        batch_size: b >= 1.

    Raises:
        TypeError: if delay is no whole number.
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.second_moments.stability_limit(0, noise_ratio=9.0)
        0.2
    """
    check(noise_ratio=noise_ratio, batch_size=batch_size)
    delays_over(delay, 1)
    limit = 2 * math.sin(math.pi / (2 * (2 * delay + 1)))
    ratio = noise_ratio / batch_size
    if ratio == 0:
        return limit
    if delay == 0:
        return 2 / (1 + ratio)

    def excess(rate: float) -> float:
        roots, shares = _response(rate, delay)
        return rate**2 * ratio * _energy(roots, shares, 1.0) - 1

    return float(scipy.optimize.brentq(excess, 1e-9 * limit, limit * (1 - 1e-9), xtol=1e-15))


def fastest_learning_rate(delay: int) -> float:
    """``tau^tau / (tau + 1)^(tau + 1)``: the fastest without noise, where two roots meet.

    Iterates then shrink by ``tau / (tau + 1)`` per step.

    Raises:
        TypeError: if delay is no whole number.
        ValueError: if delay < 0.

    Example:
        >>> jc.theory.second_moments.fastest_learning_rate(1)
        0.25
    """
    delays_over(delay, 1)
    return (
        float(delay**delay / (delay + 1) ** (delay + 1))
        if delay < 100
        else math.exp(delay * math.log(delay) - (delay + 1) * math.log(delay + 1))
    )


def mean_square_rate(
    learning_rate: float, *, noise_ratio: float = 0.0, delay: int = 0, batch_size: float = 1
) -> float:
    """The factor rho by which ``E|x|^2`` changes per step in the long run, with sigma = 0.

    The larger of the noiseless one and the root of
    ``gamma^2 (M/b) sum_t h_t^2 rho^-(t + 1 + tau) = 1``.

    Args:
        learning_rate: gamma >= 0.
        noise_ratio: M >= 0.
        delay: tau >= 0.
        batch_size: b >= 1.

    Raises:
        TypeError: if delay is no whole number.
        ValueError: if an argument is out of range.
    """
    check(noise_ratio=noise_ratio, batch_size=batch_size)
    delays_over(delay, 1)
    rate, ratio = float(rates_of(learning_rate)), noise_ratio / batch_size
    if delay == 0:
        return (1 - rate) ** 2 + rate**2 * ratio
    roots, shares = _response(rate, delay)
    lowest = float(np.abs(roots).max() ** 2)
    if ratio == 0 or rate == 0:
        return lowest

    def excess(log_rho: float) -> float:
        rho = math.exp(log_rho)
        energy = _energy(roots, shares, rho)
        return math.log(rate**2 * ratio * energy) - (1 + delay) * log_rho if energy > 0 else 1.0

    low, high = math.log(lowest) + TINY, max(0.0, math.log(lowest)) + 1e-9
    if excess(low) <= 0:
        return lowest
    while excess(high) > 0:
        high = 2 * high + 0.1
    return math.exp(scipy.optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14))


def _response(rate: float, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """``h_t = sum_j share_j root_j^t`` with the roots of ``z^(tau+1) - z^tau + gamma``."""
    roots = np.roots([1.0, -1.0, *[0.0] * (delay - 1), rate])
    return roots, roots / ((delay + 1) * roots - delay)


def _energy(roots: np.ndarray, shares: np.ndarray, rho: float) -> float:
    """``sum_t h_t^2 rho^-t``."""
    pairs = np.outer(shares, shares) / (1 - np.outer(roots, roots) / rho)
    return float(pairs.sum().real)


def tuned(
    noise_ratio: float, *, delay: int = 0, batch_size: float = 1, reduction: float = 1e6
) -> Tuned:
    """The learning rate of the smallest :func:`mean_square_rate`, and the steps that it takes.

    ``T = ln(reduction) / -ln(rho)``. Without delay, gamma = 1 / (1 + M/b).

    Args:
        noise_ratio: M >= 0.
        delay: tau >= 0.
        batch_size: b >= 1.
        reduction: > 1, factor by which ``E|x|^2`` is to fall.

    Raises:
        TypeError: if delay is no whole number.
        ValueError: if an argument is out of range.
    """
    check(noise_ratio=noise_ratio, batch_size=batch_size)
    delays_over(delay, 1)
    checks.number("reduction", reduction, above=1)
    if delay == 0:
        best = 1 / (1 + noise_ratio / batch_size)
    elif noise_ratio == 0:
        best = fastest_learning_rate(delay)
    else:
        high = math.log(stability_limit(delay, noise_ratio=noise_ratio, batch_size=batch_size))

        def rho(log_rate: float) -> float:
            return mean_square_rate(
                math.exp(log_rate), noise_ratio=noise_ratio, delay=delay, batch_size=batch_size
            )

        optimum = scipy.optimize.minimize_scalar(
            rho, bounds=(high - 5, high), method="bounded", options={"xatol": 1e-5}
        )
        best = math.exp(optimum.x)
    if noise_ratio == 0 and delay > 0:
        rate = (delay / (delay + 1)) ** 2  # double roots are accurate to half of the digits
    else:
        rate = mean_square_rate(best, noise_ratio=noise_ratio, delay=delay, batch_size=batch_size)
    return Tuned(best, rate, _steps(rate, reduction))


def tuned_gaussian(
    eigenvalues: Any, *, batch_size: float = 1, reduction: float = 1e6, grid: Any = None
) -> Tuned:
    """The same for :func:`gaussian_moments` without delay and label noise.

    Args:
        eigenvalues: lambda > 0, ``[d]``.
        batch_size: b >= 1.
        reduction: > 1.
        grid: learning rates to choose from, ``[G]``; None for the best of all.

    Raises:
        ValueError: if an argument is out of range.
    """
    check(batch_size=batch_size)
    values = spectrum(eigenvalues)

    def rho(rate: float) -> float:
        matrix = np.diag((1 - rate * values) ** 2 + (rate * values) ** 2 / batch_size)
        matrix += rate**2 * np.outer(values, values) / batch_size
        return float(np.linalg.eigvalsh(matrix)[-1])

    if grid is not None:
        best = min(map(float, rates_of(grid)), key=rho)
        return Tuned(best, rho(best), _steps(rho(best), reduction))
    optimum = scipy.optimize.minimize_scalar(
        rho, bounds=(0, 2 / values.max()), method="bounded", options={"xatol": 1e-7}
    )
    return Tuned(float(optimum.x), float(optimum.fun), _steps(float(optimum.fun), reduction))


def tuned_additive(
    noise_ratio: float, variance: float, target: float, *, batch_size: float = 1
) -> Tuned:
    """The fewest steps from ``E|x|^2 = 1`` to ``target`` with one learning rate and no delay.

    ``R+ = (1 - 2 gamma + gamma^2 (1 + M/b)) R + gamma^2 sigma^2 / b``, whose crossing of the target
    is a real number.

    Args:
        noise_ratio: M >= 0.
        variance: sigma^2 >= 0.
        target: eps in (0, 1).
        batch_size: b >= 1.

    Raises:
        ValueError: if an argument is out of range.
    """
    check(noise_ratio=noise_ratio, variance=variance, batch_size=batch_size)
    checks.number("target", target, above=0, below=1)
    curve, added = 1 + noise_ratio / batch_size, variance / batch_size

    def steps(log_rate: np.ndarray | float) -> Any:
        rate = np.exp(log_rate)
        factor = 1 - 2 * rate + rate**2 * curve
        rest = rate**2 * added / np.where(factor < 1, 1 - factor, np.nan)
        with np.errstate(all="ignore"):
            taken = np.log((target - rest) / (1 - rest)) / np.log(factor)
        fine = (rest < target) & (factor > 0) & (factor < 1)
        return np.where(fine, taken, np.inf)

    grid = np.linspace(math.log(2 / curve) - 14, math.log(2 / curve), 4001)[:-1]
    place = int(np.argmin(steps(grid)))
    optimum = scipy.optimize.minimize_scalar(
        steps, bounds=(grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]),
        method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    rate = math.exp(optimum.x)
    return Tuned(rate, 1 - 2 * rate + rate**2 * curve, float(optimum.fun))


def _steps(rate: float, reduction: float) -> float:
    return math.log(reduction) / -math.log(rate) if rate > 0 else 0.0
