"""Convergence rates, stability limits and the best learning rates in closed form."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from jcollab import checks
from jcollab.theory.second_moments.recursions import check, delays_over, rates_of, spectrum

TINY = 1e-12  # keeps rho above the squared largest root, where the sums diverge


class Tuned(NamedTuple):
    """The best learning rate and the resulting convergence.

    Attributes:
        learning_rate: gamma.
        rate: rho, the factor of the second moment per step.
        steps: number of steps to the target, a real number.
    """

    learning_rate: float
    rate: float
    steps: float


def stability_limit(delay: int, *, noise_ratio: float = 0.0, batch_size: float = 1) -> float:
    """Computes the learning rate below which second moments stay bounded, at curvature 1.

    Without noise, it is ``2 sin(pi / (2 (2 tau + 1)))``; without delay, ``2 / (1 + M/b)``. With
    both, it is the solution of ``gamma^2 (M/b) sum_t h_t^2 = 1`` with the impulse response
    ``h_t = h_{t-1} - gamma h_{t-1-tau}``.

    Args:
        delay: tau >= 0.
        noise_ratio: M >= 0.
        batch_size: b >= 1.

    Raises:
        TypeError: if delay is not an integer.
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

    # noise only lowers the limit, so the root lies below the noiseless one, where the sum is finite
    return float(scipy.optimize.brentq(excess, 1e-9 * limit, limit * (1 - 1e-9), xtol=1e-15))


def fastest_learning_rate(delay: int) -> float:
    """Computes the learning rate of the fastest convergence without noise.

        gamma = tau^tau / (tau + 1)^(tau + 1)

    Two roots of the characteristic polynomial coincide there. Iterates shrink by the factor
    ``tau / (tau + 1)`` per step.

    Args:
        delay: tau >= 0.

    Raises:
        TypeError: if delay is not an integer.
        ValueError: if delay < 0.

    Example:
        >>> jc.theory.second_moments.fastest_learning_rate(1)
        0.25
    """
    delays_over(delay, 1)
    # by logarithms for large delays, whose powers are huge integers
    return (
        float(delay**delay / (delay + 1) ** (delay + 1))
        if delay < 100
        else math.exp(delay * math.log(delay) - (delay + 1) * math.log(delay + 1))
    )


def mean_square_rate(
    learning_rate: float, *, noise_ratio: float = 0.0, delay: int = 0, batch_size: float = 1
) -> float:
    """Computes the asymptotic factor rho of ``E|x|^2`` per step, for sigma = 0.

    It is the larger of the factor without noise and the solution of
    ``gamma^2 (M/b) sum_t h_t^2 rho^-(t + 1 + tau) = 1``, with h as in :func:`stability_limit`.

    Args:
        learning_rate: gamma >= 0.
        noise_ratio: M >= 0.
        delay: tau >= 0.
        batch_size: b >= 1.

    Raises:
        TypeError: if delay is not an integer.
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.second_moments.mean_square_rate(0.5, noise_ratio=1.0)  # 0.5^2 + 0.5^2
        0.5
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

    # the sum converges for rho > |largest root|^2 only, and decreases in rho from there
    low, high = math.log(lowest) + TINY, max(0.0, math.log(lowest)) + 1e-9
    if excess(low) <= 0:
        return lowest
    while excess(high) > 0:
        high = 2 * high + 0.1
    return math.exp(scipy.optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14))


def _response(rate: float, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes roots and shares of the impulse response ``h_t = sum_j share_j root_j^t``.

    The roots are those of ``z^(tau+1) - z^tau + gamma``, for tau >= 1.
    """
    roots = np.roots([1.0, -1.0, *[0.0] * (delay - 1), rate])
    return roots, roots / ((delay + 1) * roots - delay)


def _energy(roots: np.ndarray, shares: np.ndarray, rho: float) -> float:
    """Computes ``sum_t h_t^2 rho^-t``, a geometric series for each pair of roots."""
    pairs = np.outer(shares, shares) / (1 - np.outer(roots, roots) / rho)
    return float(pairs.sum().real)


def tuned(
    noise_ratio: float, *, delay: int = 0, batch_size: float = 1, reduction: float = 1e6
) -> Tuned:
    """Computes the learning rate with the smallest :func:`mean_square_rate`.

    The number of steps is ``T = ln(reduction) / -ln(rho)``. Without delay, the learning rate is
    ``1 / (1 + M/b)``.

    Args:
        noise_ratio: M >= 0.
        delay: tau >= 0.
        batch_size: b >= 1.
        reduction: > 1, the factor by which ``E|x|^2`` decreases.

    Raises:
        TypeError: if delay is not an integer.
        ValueError: if an argument is out of range.

    Example:
        >>> best = jc.theory.second_moments.tuned(3.0, reduction=16.0)
        >>> best.learning_rate, best.rate, round(best.steps, 2)  # 0.75^9.64 = 1 / 16
        (0.25, 0.75, 9.64)
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

        # over the logarithm: the best learning rate is within a factor of e^5 of the limit
        optimum = scipy.optimize.minimize_scalar(
            rho, bounds=(high - 5, high), method="bounded", options={"xatol": 1e-5}
        )
        best = math.exp(optimum.x)
    if noise_ratio == 0 and delay > 0:
        # in closed form: computed double roots are accurate to half of the digits only
        rate = (delay / (delay + 1)) ** 2
    else:
        rate = mean_square_rate(best, noise_ratio=noise_ratio, delay=delay, batch_size=batch_size)
    return Tuned(best, rate, _steps(rate, reduction))


def tuned_gaussian(
    eigenvalues: Any, *, batch_size: float = 1, reduction: float = 1e6, grid: Any = None
) -> Tuned:
    """Computes the best learning rate of :func:`gaussian_moments` without delay and label noise.

    Args:
        eigenvalues: lambda > 0, ``[d]``.
        batch_size: b >= 1.
        reduction: > 1, the factor by which the second moments decrease.
        grid: learning rates to choose from, ``[G]``; None to optimize over all learning rates.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> best = jc.theory.second_moments.tuned_gaussian(np.ones(8))  # M = d + 1
        >>> round(best.learning_rate, 3), round(best.rate, 3)
        (0.1, 0.9)
    """
    check(batch_size=batch_size)
    values = spectrum(eigenvalues)

    # the largest eigenvalue of the recursion of gaussian_moments; its matrix is symmetric
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
    """Computes the constant learning rate with the fewest steps to a target, without delay.

        R+ = (1 - 2 gamma + gamma^2 (1 + M/b)) R + gamma^2 sigma^2 / b,   R = E|x|^2, from 1

    The number of steps until R reaches the target is a real number.

    Args:
        noise_ratio: M >= 0.
        variance: sigma^2 >= 0.
        target: eps in (0, 1).
        batch_size: b >= 1.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> best = jc.theory.second_moments.tuned_additive(3.0, variance=0.0, target=1 / 16)
        >>> round(best.learning_rate, 2), round(best.steps, 2)  # as for tuned
        (0.25, 9.64)
    """
    check(noise_ratio=noise_ratio, variance=variance, batch_size=batch_size)
    checks.number("target", target, above=0, below=1)
    curve, added = 1 + noise_ratio / batch_size, variance / batch_size

    def steps(log_rate: np.ndarray | float) -> Any:
        rate = np.exp(log_rate)
        factor = 1 - 2 * rate + rate**2 * curve
        # R approaches rest, which must lie below the target
        rest = rate**2 * added / np.where(factor < 1, 1 - factor, np.nan)
        with np.errstate(all="ignore"):
            taken = np.log((target - rest) / (1 - rest)) / np.log(factor)
        fine = (rest < target) & (factor > 0) & (factor < 1)
        return np.where(fine, taken, np.inf)

    # infinite outside an interval, so that a grid has to find the minimum before it is refined
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
