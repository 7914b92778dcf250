"""Who is first on the wall clock: synchronous, asynchronous or local SGD.

Time is counted from the compute time of every client and the time of its link, steps by the exact
second moments of least squares with Gaussian features, every method at its best learning rate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jcollab import checks
from jcollab.theory import arrivals, second_moments
from jcollab.theory.second_moments.recursions import spectrum

RATES = np.geomspace(1 / 8, 4, 16)  # around the guess 1 / (L (1 + M/b + 2 tau))
DRAWN = 200  # rounds over which the length of a round is averaged, where jobs are random


class Finish(NamedTuple):
    """When a method reaches the target.

    Attributes:
        seconds: wall clock, in the unit of the compute times; infinite if it does not.
        steps: server steps or communication rounds until then, a real number.
        learning_rate: the best one.
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
    """Time of every method until ``E f`` has fallen by the factor ``target``.

    Each client computes the gradient of one example in ``compute_time_i``.

    - ``synchronous``: a round lasts ``max_i (compute_i + link_i)``, the batch is n.
    - ``asynchronous``: the server steps at each arrival, with the delays that come about.
    - ``local H``: a round lasts ``max_i (H compute_i + link_i)``, then models are averaged.

    Args:
        compute_time: mean time of a gradient, > 0, ``[n]``.
        link_time: time of both transfers, >= 0, one or ``[n]``.
        eigenvalues: of the Hessian, > 0, ``[d]``; noise over signal is about
            ``1 + sum(lambda) / max(lambda)``, see :func:`noise_ratio`.
        target: in (0, 1).
        label_noise: s^2 >= 0, variance of the labels; with it, the start is ``x_j(0) = 1``.
        local_steps: values of H.
        draw: factor of every job, see :mod:`jcollab.theory.arrivals`; None for none.
        seed: of the draws.
        max_steps: steps after which a method is given up.

    Returns:
        ``{method: Finish}``, the earliest first.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> next(iter(compare(np.ones(8), 5.0, eigenvalues=np.ones(20), target=1e-3)))
        'local 8'
    """
    compute, link = np.atleast_1d(np.asarray(compute_time, float)), np.asarray(link_time, float)
    checks.number("compute_time", compute, above=0, arrays=True)
    checks.number("link_time", link, at_least=0, arrays=True)
    if compute.ndim != 1:
        raise ValueError(f"compute_time must be of shape [n], got {compute.shape}")
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
    goal = target * values.sum()
    noise = noise_ratio(values) + label_noise / (target * values.sum())

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
    """``1 + sum(lambda) / max(lambda)``: noise over signal of Gaussian features, where all of the
    signal lies in the direction of the largest curvature, and the number of clients up to which
    they speed up training about linearly.

    Raises:
        ValueError: if an eigenvalue is not positive.
    """
    values = spectrum(eigenvalues)
    return float(1 + values.sum() / values.max())


def crossing(curve: Any, target: float) -> float:
    """Where a curve ``[T + 1]`` first comes down to a target, between points along its logarithm.

    Returns:
        A real number of steps; infinity if it does not.

    Raises:
        ValueError: if the target is not positive.
    """
    checks.finite(above=0, target=target)
    curve = np.asarray(curve, float)
    below = curve <= target
    if not below.any():
        return np.inf
    t = int(np.argmax(below))
    if t == 0:
        return 0.0
    before, after = np.log(curve[t - 1]), np.log(max(curve[t], 1e-300))
    return float(t - 1 + (before - np.log(target)) / (before - after))


def _jobs(
    key: jax.Array, compute: np.ndarray, count: int, draw: arrivals.Draw | None
) -> np.ndarray:
    """Lengths of ``count`` jobs of every client in some rounds, ``[rounds, count, n]``."""
    if draw is None:
        return np.broadcast_to(compute, (1, count, len(compute)))
    keys = jax.random.split(key, DRAWN * count * len(compute))
    factors = np.asarray(jax.jit(jax.vmap(draw))(keys), float)
    return compute * factors.reshape(DRAWN, count, len(compute))
