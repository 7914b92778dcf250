"""Random least-squares problems of many clients with a given heterogeneity."""

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
    """The problem ``F(x) = (1/n) sum_i ||A_i x - b_i||^2``, in which client i has A_i and b_i.

    Attributes:
        A: ``[n, d, d]``.
        b: ``[n, d]``.

    Example:
        >>> problem = jc.data.synthetic.Quadratics(A=jnp.ones((2, 1, 1)), b=jnp.array([[0.0], [2]]))
        >>> batches = jc.data.full_batch(problem)  # every client has its A and b in each round
        >>> batches.draw(jax.random.key(0), 0).b.shape
        (2, 1)
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

    ``A_i`` is a Gaussian matrix with its singular values replaced by an even grid. Every client's
    optimum is moved by a Gaussian offset. All offsets are scaled by one factor, computed by
    bisection, such that the heterogeneity ``(1/n) sum_i ||A_i^T (A_i x* - b_i)||^2`` is ``zeta2``.

    Args:
        n: number of clients, at least 2.
        d: dimension.
        zeta2: heterogeneity >= 0, met to 1e-5.
        smallest: smallest singular value; None keeps the Gaussian spectrum and scales its largest
            value to ``largest``.
        largest: largest singular value.
        r0: distance of the optimum from the origin.
        seed: seed of all draws.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> problem = jc.data.synthetic.random_quadratics(4, 3, zeta2=0.5)
        >>> problem.A.shape, np.linalg.svd(problem.A, compute_uv=False)[0].round(2).tolist()
        ((4, 3, 3), [1.0, 0.75, 0.5])

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

    # The heterogeneity grows with the scale. The scale is doubled until it is too large, then the
    # interval is halved.
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
    """Computes the minimizer of F, float64 ``[d]``."""
    # float64 in NumPy whatever JAX's default: F* is subtracted from values that are nearly equal
    a, b = np.asarray(problem.A, np.float64), np.asarray(problem.b, np.float64)
    return np.linalg.solve(np.einsum("nij,nik->jk", a, a), np.einsum("nij,ni->j", a, b))


def heterogeneity(problem: Quadratics) -> float:
    """Computes ``zeta^2 = (1/n) sum_i ||A_i^T (A_i x* - b_i)||^2`` at the minimizer of F."""
    a, b = np.asarray(problem.A, np.float64), np.asarray(problem.b, np.float64)
    gradients = np.einsum("nij,ni->nj", a, a @ optimum(problem) - b)
    return float((gradients**2).sum(1).mean())


def objective_value(problem: Quadratics, x: Any) -> Array:
    """Computes ``F(x) = (1/n) sum_i ||A_i x - b_i||^2`` at one point ``[d]``."""
    residual = jnp.asarray(problem.A) @ x - jnp.asarray(problem.b)
    return (residual**2).sum() / residual.shape[0]


def suboptimality(problem: Quadratics) -> Callable[[State], Array]:
    """Builds the metric ``F(mean_i x_i) - F*`` of states with parameters in one array ``[n, d]``.

    Example:
        >>> problem = jc.data.synthetic.Quadratics(A=jnp.ones((2, 1, 1)), b=jnp.array([[0.0], [2]]))
        >>> loss = jc.data.synthetic.quadratic_loss()
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce())
        >>> metric = jc.data.synthetic.suboptimality(problem)
        >>> metric(algorithm.init(jc.replicate(jnp.zeros(1), 2))).item()  # F(0) - F(1) = 2 - 1
        1.0
    """
    problem = jax.tree.map(jnp.asarray, problem)
    least = objective_value(problem, jnp.asarray(optimum(problem), problem.b.dtype))

    def suboptimality(state: State) -> Array:
        return objective_value(problem, params_of(state).mean(0)) - least

    return suboptimality


def quadratic_loss(noise: Any = 0.0) -> Callable[[Array, Quadratics, Array], Array]:
    """Builds the loss of one client, with gradient ``A^T (A x - b)`` plus noise.

    Args:
        noise: sigma; N(0, sigma^2 / d) is added to every coordinate of the gradient, which makes
            the variance of the noise sigma^2.

    Returns:
        ``loss(params [d], batch, key)``; the batch is a :class:`Quadratics`, for example from
        :func:`jcollab.data.full_batch`.

    Raises:
        ValueError: if sigma is negative or not finite.

    Example:
        >>> loss = jc.data.synthetic.quadratic_loss()
        >>> batch = jc.data.synthetic.Quadratics(A=jnp.eye(2), b=jnp.array([1.0, 0.0]))
        >>> jax.grad(loss)(jnp.zeros(2), batch, jax.random.key(0)).tolist()
        [-1.0, 0.0]
    """
    checks.finite(at_least=0, noise=noise)

    def loss(params: Array, batch: Quadratics, key: Array) -> Array:
        value = 0.5 * jnp.sum((batch.A @ params - batch.b) ** 2)
        if isinstance(noise, (int, float)) and noise == 0:
            return value
        draw = jax.random.normal(key, params.shape, params.dtype)
        # The gradient of <draw, x> is the draw: a linear term adds the noise to the gradient.
        return value + noise / params.size**0.5 * jnp.vdot(draw, params)

    return loss
