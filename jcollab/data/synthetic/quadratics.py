"""Random least-squares problems of many clients with a chosen heterogeneity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import Array, State, params_of

TOLERANCE = 1e-5


class Quadratics(NamedTuple):
    """``F(x) = (1/n) sum_i ||A_i x - b_i||^2``; client i has ``A_i`` and ``b_i``.

    Attributes:
        A: ``[n, d, d]``.
        b: ``[n, d]``.
    """

    A: Any
    b: Any


def random_quadratics(
    n: int,
    d: int,
    *,
    zeta2: float = 1.0,
    smallest: float | None = 0.5,
    largest: float = 1.0,
    r0: float = 1.0,
    seed: int = 0,
) -> Quadratics:
    """Draws a problem in float64.

    ``A_i`` is a Gaussian matrix whose singular values are replaced by an even grid. Every client's
    optimum is moved by a Gaussian offset, all scaled by one factor, computed by bisection, at which
    the heterogeneity ``(1/n) sum_i ||A_i^T (A_i x* - b_i)||^2`` is ``zeta2``.

    Args:
        n: number of clients, at least 2.
        d: dimension.
        zeta2: heterogeneity >= 0, met to 1e-5.
        smallest: smallest singular value; None keeps the Gaussian spectrum and scales its largest
            value to ``largest``.
        largest: largest singular value.
        r0: distance of the optimum from the origin.
        seed: of all draws.

    Raises:
        ValueError: if a number is out of range.

    Source: Vogels et al. 2021, arXiv 2110.04175.
    """
    checks.count("n", n, 2)
    checks.count("d", d)
    checks.finite(at_least=0, zeta2=zeta2, r0=r0)
    checks.finite(above=0, largest=largest)
    if smallest is not None:
        checks.number("smallest", smallest, above=0, at_most=largest)
    checks.seed("seed", seed)
    rng = np.random.default_rng(seed)
    u, values, vt = np.linalg.svd(rng.normal(size=(n, d, d)))
    if smallest is None:
        values = values * (largest / values[:, :1])
    else:
        values = np.broadcast_to(np.linspace(smallest, largest, d), (n, d))
    matrices = (u * values[:, None, :]) @ vt
    offsets = rng.normal(size=(n, d))

    def centered(scale: float) -> Quadratics:
        problem = Quadratics(matrices, np.einsum("nij,nj->ni", matrices, scale * offsets))
        return Quadratics(matrices, problem.b - matrices @ optimum(problem))

    low, high, scale = 0.0, None, 1.0
    problem = centered(0.0)
    while abs(heterogeneity(problem) - zeta2) > TOLERANCE:
        problem = centered(scale)
        if heterogeneity(problem) < zeta2:
            low = scale
        else:
            high = scale
        scale = 2 * scale if high is None else (low + high) / 2
    direction = rng.normal(size=d)
    return Quadratics(matrices, problem.b + matrices @ (direction * r0 / np.linalg.norm(direction)))


def optimum(problem: Quadratics) -> np.ndarray:
    """The minimum of F, float64 ``[d]``."""
    a, b = np.asarray(problem.A, np.float64), np.asarray(problem.b, np.float64)
    return np.linalg.solve(np.einsum("nij,nik->jk", a, a), np.einsum("nij,ni->j", a, b))


def heterogeneity(problem: Quadratics) -> float:
    """``zeta^2 = (1/n) sum_i ||A_i^T (A_i x* - b_i)||^2`` at the minimum of F."""
    a, b = np.asarray(problem.A, np.float64), np.asarray(problem.b, np.float64)
    gradients = np.einsum("nij,ni->nj", a, a @ optimum(problem) - b)
    return float((gradients**2).sum(1).mean())


def objective_value(problem: Quadratics, x: Any) -> Array:
    """``F(x) = (1/n) sum_i ||A_i x - b_i||^2`` at one point ``[d]``."""
    residual = jnp.asarray(problem.A) @ x - jnp.asarray(problem.b)
    return (residual**2).sum() / residual.shape[0]


def suboptimality(problem: Quadratics) -> Callable[[State], Array]:
    """A metric ``F(mean_i x_i) - F*`` for states whose parameters are one array ``[n, d]``."""
    problem = jax.tree.map(jnp.asarray, problem)
    least = objective_value(problem, jnp.asarray(optimum(problem), problem.b.dtype))

    def suboptimality(state: State) -> Array:
        return objective_value(problem, params_of(state).mean(0)) - least

    return suboptimality


def quadratic_loss(noise: Any = 0.0) -> Callable[[Array, Quadratics, Array], Array]:
    """One client's loss, whose gradient is ``A^T (A x - b)`` plus noise of variance sigma^2.

    Args:
        noise: sigma; every coordinate of the gradient gets N(0, sigma^2 / d).

    Returns:
        ``loss(params [d], batch, key)``; the batch is a :class:`Quadratics`, the same each round.

    Raises:
        ValueError: if sigma is negative or not finite.
    """
    checks.finite(at_least=0, noise=noise)

    def loss(params: Array, batch: Quadratics, key: Array) -> Array:
        value = 0.5 * jnp.sum((batch.A @ params - batch.b) ** 2)
        if isinstance(noise, (int, float)) and noise == 0:
            return value
        draw = jax.random.normal(key, params.shape, params.dtype)
        return value + noise / params.size**0.5 * jnp.vdot(draw, params)

    return loss
