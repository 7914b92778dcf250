"""Comparison of synchronous, asynchronous and local SGD by wall-clock time.

The time per step follows from the compute time of every client and the time of its link. The number
of steps follows from the exact second moments of least squares with Gaussian features, with the
best learning rate of each method.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jcollab import checks
from jcollab.theory import arrivals, second_moments
from jcollab.theory.second_moments.recursions import spectrum

RATES = np.geomspace(1 / 8, 4, 16)  # around the guess 1 / (L (1 + M/b + 2 tau))
DRAWN = 200  # number of rounds over which the length of a round is averaged, for random jobs


class Finish(NamedTuple):
    """The time at which a method reaches the target.

    Attributes:
        seconds: wall-clock time, in the unit of the compute times; infinite if the target is not
            reached.
        steps: number of server steps or communication rounds until then, a real number.
        learning_rate: the best learning rate.
    """

    seconds: float
    steps: float
    learning_rate: float


def compare(
    compute_time: Any,
    link_time: Any = 0.0,
    *,
    eigenvalues: Any,
    target: float,
    label_noise: float = 0.0,
    local_steps: tuple[int, ...] = (8,),
    draw: arrivals.Draw | None = None,
    seed: int = 0,
    max_steps: int = 20_000,
) -> dict[str, Finish]:
    """Computes the time that every method takes to reduce ``E f`` by the factor ``target``.

    Client i computes the gradient of one example in ``compute_time_i``.

    - ``synchronous``: a round lasts ``max_i (compute_i + link_i)``, and the batch size is n.
    - ``asynchronous``: the server takes a step at each arrival; the delays are simulated.
    - ``local H``: a round lasts ``max_i (H compute_i + link_i)``, and ends with an average.

    Args:
        compute_time: mean time of a gradient, > 0, ``[n]``.
        link_time: time of both transfers, >= 0, one for all or ``[n]``.
        eigenvalues: of the Hessian, > 0, ``[d]``; the ratio of noise to signal is about
            ``1 + sum(lambda) / max(lambda)``, see :func:`noise_ratio`.
        target: in (0, 1).
        label_noise: s^2 >= 0, variance of the labels. The start is ``x_j(0) = 1``.
        local_steps: the values of H.
        draw: random factor of every job, see :mod:`jcollab.theory.arrivals`; None for no factor.
        seed: of the random factors.
        max_steps: number of steps after which a method ends without reaching the target.

    Returns:
        ``{method: Finish}``, the fastest first.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> compare = jc.theory.wall_clock.compare
        >>> next(iter(compare(np.ones(8), 5.0, eigenvalues=np.ones(20), target=1e-3)))
        'local 8'
    """
    compute, link = np.atleast_1d(np.asarray(compute_time, float)), np.asarray(link_time, float)
    checks.number("compute_time", compute, above=0, arrays=True)
    checks.number("link_time", link, at_least=0, arrays=True)
    if compute.ndim != 1:
        raise ValueError(f"compute_time must have shape [n], got {compute.shape}")
    n = len(compute)
    if link.shape not in ((), (n,)):
        raise ValueError(f"link_time must be a number or [n={n}], got {link.shape}")
    link = np.broadcast_to(link, (n,))
    checks.number("target", target, above=0, below=1)
    checks.integers("local_steps", local_steps, at_least=1)
    checks.count("max_steps", max_steps)
    checks.seed("seed", seed)
    values = np.asarray(eigenvalues, float)
    key = jax.random.key(seed)
    goal = target * values.sum()  # of sum_j lambda_j x_j^2, which starts at sum_j lambda_j
    noise = noise_ratio(values) + label_noise / (target * values.sum())

    # all learning rates run side by side, and the recursion stops when the first one is done
    def best(moments: np.ndarray, rates: np.ndarray) -> tuple[float, float]:
        crossed = [crossing(curve, goal) for curve in (moments @ values).T]
        place = int(np.argmin(crossed))
        return crossed[place], float(rates[place])

    def guess(batch: float, delay: float) -> np.ndarray:
        return RATES / (values.max() * (1 + noise / batch + 2 * delay))

    lengths = _jobs(key, compute, max(1, *local_steps, 1), draw)
    results = {}
    rates = guess(n, 0)
    moments = second_moments.gaussian_moments(
        values, rates, max_steps, batch_size=n, label_noise=label_noise, until=goal
    )
    steps, rate = best(moments, rates)
    results["synchronous"] = Finish(
        steps * float(np.mean((lengths[:, 0] + link).max(1))), steps, rate
    )

    schedule = arrivals.simulate(key, max_steps, compute, link_time=link, draw=draw)
    delays = arrivals.delays_of(schedule.client, n)
    # the first n delays are smaller than later ones, since all clients start at the same time
    rates = guess(1, float(delays[n:].mean()) if max_steps > n else n - 1)
    moments = second_moments.gaussian_moments(
        values, rates, max_steps, delay=delays, label_noise=label_noise, until=goal
    )
    steps, rate = best(moments, rates)
    times = np.concatenate([[0.0], np.asarray(schedule.time, float)])
    seconds = float(np.interp(steps, np.arange(len(times)), times)) if np.isfinite(steps) else steps
    results["asynchronous"] = Finish(seconds, steps, rate)

    for count in local_steps:
        rates = guess(1, 0)
        rounds = max(1, max_steps // count)
        moments = second_moments.local_moments(
            values, rates, rounds, n=n, local_steps=count, label_noise=label_noise, until=goal
        )
        steps, rate = best(moments, rates)
        length = float(np.mean((lengths[:, :count].sum(1) + link).max(1)))
        results[f"local {count}"] = Finish(steps * length, steps, rate)
    return dict(sorted(results.items(), key=lambda item: item[1].seconds))


def noise_ratio(eigenvalues: Any) -> float:
    """Computes ``1 + sum(lambda) / max(lambda)``, the noise ratio of Gaussian features.

    This is noise over signal if all of the signal is in the direction of the largest curvature. Up
    to about this number of clients, the speedup by more clients is linear.

    Args:
        eigenvalues: lambda > 0, ``[d]``.

    Raises:
        ValueError: if an eigenvalue is not positive.

    Example:
        >>> jc.theory.wall_clock.noise_ratio([2.0, 1.0, 1.0])
        3.0
    """
    values = spectrum(eigenvalues)
    return float(1 + values.sum() / values.max())


def crossing(curve: Any, target: float) -> float:
    """Computes the step at which a curve first reaches a target from above.

    The logarithm of the curve is interpolated linearly between steps.

    Args:
        curve: values at steps 0..T, ``[T + 1]``.
        target: > 0.

    Returns:
        A real number of steps; infinity if the target is not reached.

    Raises:
        ValueError: if the target is not positive.

    Example:
        >>> round(jc.theory.wall_clock.crossing([1.0, 0.1, 0.001], target=0.01), 3)
        1.5
    """
    checks.finite(above=0, target=target)
    curve = np.asarray(curve, float)
    below = curve <= target
    if not below.any():
        return np.inf
    t = int(np.argmax(below))
    if t == 0:
        return 0.0
    # a curve may reach 0 exactly, which has no logarithm
    before, after = np.log(curve[t - 1]), np.log(max(curve[t], 1e-300))
    return float(t - 1 + (before - np.log(target)) / (before - after))


def _jobs(
    key: jax.Array, compute: np.ndarray, count: int, draw: arrivals.Draw | None
) -> np.ndarray:
    """Draws the times of ``count`` jobs of each client in many rounds, ``[rounds, count, n]``."""
    if draw is None:
        return np.broadcast_to(compute, (1, count, len(compute)))
    keys = jax.random.split(key, DRAWN * count * len(compute))
    factors = np.asarray(jax.jit(jax.vmap(draw))(keys), float)
    return compute * factors.reshape(DRAWN, count, len(compute))
