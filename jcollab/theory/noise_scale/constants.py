"""Constants of a problem: how its noise grows with the signal, and its smoothness."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jcollab import checks
from jcollab.core import Array, Loss, PyTree
from jcollab.theory.noise_scale.estimates import gradient_of


class Fit(NamedTuple):
    """The constants of the bound ``noise <= M signal + sigma^2`` along a trajectory.

    Attributes:
        noise_ratio: M.
        variance: sigma^2.
    """

    noise_ratio: float
    variance: float


def fit(signal: Any, noise: Any, *, weights: Any = None) -> Fit:
    """Fits ``noise = M signal + sigma^2`` by non-negative least squares.

    Args:
        signal: ``|grad f|^2`` along a trajectory, ``[T]``.
        noise: ``E|xi|^2``, ``[T]``.
        weights: of the squared errors, ``[T]``; None for equal weights. ``1 / noise^2`` makes the
            errors relative, so that the end of a trajectory counts as much as its start.

    Returns:
        M and sigma^2, both at least 0.

    Raises:
        ValueError: if there are fewer than 2 points, or lengths differ.

    Example:
        >>> result = jc.theory.noise_scale.fit(signal=[4.0, 1.0], noise=[9.0, 3.0])
        >>> round(result.noise_ratio, 3), round(result.variance, 3)  # 9 = 2 * 4 + 1
        (2.0, 1.0)
    """
    import scipy.optimize  # slow to import

    x, y = np.asarray(signal, float), np.asarray(noise, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"signal and noise must have one shape [T] with T >= 2, got {x.shape} and {y.shape}"
        )
    root = np.ones_like(x) if weights is None else np.sqrt(np.asarray(weights, float))
    if root.shape != x.shape:
        raise ValueError(f"weights must have shape {x.shape}, got {root.shape}")
    columns = np.stack([x, np.ones_like(x)], 1)
    # signals span many orders of magnitude: columns of equal size keep the problem well conditioned
    scale = np.maximum(np.abs(columns * root[:, None]).max(0), 1e-300)
    solution, _ = scipy.optimize.nnls(columns * root[:, None] / scale, y * root)
    return Fit(float(solution[0] / scale[0]), float(solution[1] / scale[1]))


def smoothness(
    loss: Loss,
    params: PyTree,
    examples: PyTree,
    key: Array,
    *,
    model_state: PyTree = (),
    iterations: int = 50,
) -> Array:
    """Estimates the smoothness L at a point by power iteration.

    L is the largest absolute eigenvalue of the Hessian.

    Args:
        loss: as for :func:`per_sample`; it is called with all examples at once.
        params: parameters of a model.
        examples: leaves ``[N, ...]``.
        key: random key of the initial direction and of the loss.
        model_state: state of the model, for a stateful loss.
        iterations: number of products with the Hessian, at least 1.

    Returns:
        L, a scalar; a lower bound that approaches L with more iterations.

    Raises:
        ValueError: if iterations < 1.

    Example:
        >>> loss = lambda w, batch, key: (batch * w**2).sum() / 2  # Hessian diag(batch)
        >>> eigenvalues, key = jnp.array([1.0, 5.0]), jax.random.key(0)
        >>> smoothness = jc.theory.noise_scale.smoothness(loss, jnp.zeros(2), eigenvalues, key)
        >>> round(float(smoothness), 3)
        5.0
    """
    checks.count("iterations", iterations)
    gradient = gradient_of(loss)
    flat, restore = ravel_pytree(params)

    def slope(flat: Array, direction: Array) -> Array:
        grads = gradient(restore(flat), model_state, examples, key)
        return jnp.vdot(ravel_pytree(grads)[0], direction)

    # reverse mode twice, since a loss with a custom VJP has no forward mode
    product = jax.grad(slope)

    def power(direction: Array, _: None) -> tuple[Array, Array]:
        new = product(flat, direction)
        size = jnp.linalg.norm(new)
        return new / jnp.maximum(size, 1e-30), size

    start = jax.random.normal(key, flat.shape, flat.dtype)
    _, sizes = jax.lax.scan(power, start / jnp.linalg.norm(start), None, length=iterations)
    return sizes[-1]
