"""Exact second moments against a Monte Carlo of the library's own algorithms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Row


def monte_carlo(
    algorithm: jc.Algorithm,
    problem: Any,
    d: int,
    *,
    n: int,
    batch: int,
    times: tuple[int, ...],
    exact: np.ndarray,
    config: Any,
) -> list[Row]:
    """``E|x|^2`` from ``|x|^2 = 1`` after some rounds, exact and by a Monte Carlo.

    Args:
        algorithm: with one model, ``state.shared.params``.
        problem: for :func:`jcollab.data.regression_samples`.
        d: dimension.
        n: number of clients.
        batch: examples of a gradient.
        times: rounds.
        exact: second moments by round.
        config: with ``runs`` and ``seed``.
    """
    algorithm = jc.with_metrics(
        algorithm, lambda state: {"square": jnp.sum(state.shared.params**2)}
    )
    sample = jc.data.regression_samples(batch)

    def squares(key: jax.Array) -> jax.Array:
        state = algorithm.init(key, jnp.ones((n, d)) / np.sqrt(d))
        _, log = jc.run(algorithm, state, problem, key, num_rounds=max(times), sample=sample)
        return log["square"][np.array(times) - 1]

    keys = jax.random.split(jax.random.key(config.seed), config.runs)
    values = np.asarray(jax.jit(jc.layout.per_replica(squares))(keys), float)
    errors = values.std(0) / np.sqrt(len(values))
    return [
        {"time": t, "exact": exact[t], "measured": mean, "standard_error": error}
        for t, mean, error in zip(times, values.mean(0), errors, strict=True)
    ]


def within_errors(claim: str, deviation: float, standard_error: float) -> Claim:
    """A mean is within three standard errors of the exact value."""
    errors = deviation / standard_error
    return Claim(claim, "within 3 s.e.", f"{errors:+.1f}", abs(errors) <= 3)


def within(claim: str, deviation: float, bound: float, measured: Any, value: str = "") -> Claim:
    """A relative deviation is at most ``bound``; ``value`` is what it refers to."""
    return Claim(claim, f"{value} within {bound:.0%}".strip(), measured, abs(deviation) <= bound)
