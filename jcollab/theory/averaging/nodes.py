"""The best weights of many estimates, and of clients drawn from a population."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jcollab import checks
from jcollab.theory.averaging.closed_form import optimal_weight, risk
from jcollab.theory.averaging.common import Number, floats
from jcollab.theory.averaging.estimates import sampling_variance


def multi_node_weights(variances: Any, biases: Any, *, simplex: bool = False) -> Any:
    """Computes the weights of M independent estimates that minimize :func:`multi_node_risk`.

        A = diag(V) + b b',    w* = A^-1 1 / (1' A^-1 1)

    Biases of equal sign may result in a negative weight (extrapolation); biases of opposite signs
    cancel.

    Args:
        variances: V ``[..., M]``, at least 0; at most one of M may be 0.
        biases: b ``[..., M]``, relative to the client's target; 0 for its own estimate.
        simplex: whether weights must not be negative. The quadratic program over the simplex is
            solved by non-negative least squares; derivatives are taken with the set of positive
            weights fixed.

    Returns:
        w* ``[..., M]``, which sums to 1.

    Raises:
        ValueError: if a variance is negative, several variances are 0, an argument is not finite,
            or the shapes have no common axis of M >= 1.

    Example:
        >>> jc.theory.averaging.multi_node_weights([0.1, 0.05], [0.0, 0.0]).round(4)
        array([0.3333, 0.6667])
    """
    xp, v, b = _nodes(variances, biases)
    if not checks.traced(v) and (np.sum(np.asarray(v) == 0, -1) > 1).any():
        raise ValueError(f"variances must have at most one 0 per client, got {variances}")
    support = xp.ones(v.shape, bool)
    if simplex:
        support = _positive(v, b) if xp is np else _positive_traced(v, b)
    return _solve(xp, v, b, support)


def multi_node_risk(weights: Any, variances: Any, biases: Any) -> Any:
    """Computes the mean squared error of ``sum_j w_j X_j``.

        sum_j w_j^2 V_j + (sum_j w_j b_j)^2

    Args:
        weights: w ``[..., M]``, which sum to 1.
        variances: V ``[..., M]``.
        biases: b ``[..., M]``.

    Raises:
        ValueError: as for :func:`multi_node_weights`, or if the weights do not sum to 1.

    Example:
        >>> float(jc.theory.averaging.multi_node_risk([0.5, 0.5], [1.0, 1.0], [0.0, 1.0]))
        0.75
    """
    checks.finite(arrays=True, weights=weights)
    _, v, b = _nodes(variances, biases)
    if not checks.traced(weights) and not np.allclose(np.sum(weights, -1), 1, atol=1e-4):
        raise ValueError(f"weights must sum to 1, got a sum of {np.sum(weights, -1)}")
    _, w, v, b = floats(weights, v, b)
    return (w**2 * v).sum(-1) + (w * b).sum(-1) ** 2


def population_moments(
    num_clients: Number, num_samples: Number, variance: Number, spread: Number
) -> tuple[Number, Number, Number]:
    """Computes the moments of a client and of the others' mean, for clients of a population.

        V_l = s^2 / N,    V_g = V_l / (n - 1),    bias^2 = t^2 n / (n - 1) on average

    Args:
        num_clients: n >= 2.
        num_samples: N >= 1, of each client.
        variance: s^2 >= 0, of a sample.
        spread: t >= 0, standard deviation of the clients' targets.

    Returns:
        ``(local_variance, global_variance, bias)``, the first arguments of :func:`optimal_weight`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> moments = jc.theory.averaging.population_moments(9, 10, variance=4.0, spread=0.0)
        >>> [float(moment) for moment in moments]  # 4 / 10, and that over 8
        [0.4, 0.05, 0.0]
    """
    checks.finite(arrays=True, at_least=2, num_clients=num_clients)
    checks.finite(arrays=True, at_least=1, num_samples=num_samples)
    checks.finite(arrays=True, at_least=0, variance=variance)
    checks.finite(arrays=True, at_least=0, spread=spread)
    xp, n, t = floats(num_clients, spread)
    local = sampling_variance(variance, num_samples)
    return local, local / (n - 1), t * xp.sqrt(n / (n - 1))


def population_weight(
    num_clients: Number, num_samples: Number, variance: Number, spread: Number
) -> Number:
    """Computes the best weight of the others for clients of a population.

        a* = ((n - 1) / n) (s^2 / N) / (s^2 / N + t^2)

    Arguments and errors are those of :func:`population_moments`.

    Example:
        >>> float(jc.theory.averaging.population_weight(2, 10, variance=10.0, spread=1.0))
        0.25
    """
    return optimal_weight(*population_moments(num_clients, num_samples, variance, spread))


def population_risk(
    weight: Number, num_clients: Number, num_samples: Number, variance: Number, spread: Number
) -> Number:
    """Computes the mean squared error over a population, ``(1 - a*) s^2 / N`` at the best weight.

    Arguments and errors are those of :func:`population_moments` and :func:`risk`.

    Example:
        >>> float(jc.theory.averaging.population_risk(0.25, 2, 10, variance=10.0, spread=1.0))
        0.75
    """
    return risk(weight, *population_moments(num_clients, num_samples, variance, spread))


def _nodes(variances: Any, biases: Any) -> tuple[Any, Any, Any]:
    checks.finite(arrays=True, at_least=0, variances=variances)
    checks.finite(arrays=True, biases=biases)
    xp, v, b = floats(variances, biases)
    if v.ndim == 0 or b.ndim == 0 or v.shape[-1] != b.shape[-1] or v.shape[-1] == 0:
        raise ValueError(
            f"variances and biases must be [..., M] with one M >= 1, got {v.shape} and {b.shape}"
        )
    v, b = xp.broadcast_arrays(v, b)
    return xp, v, b


def _solve(xp: Any, v: Any, b: Any, support: Any) -> Any:
    """Computes the weights on the support from the conditions of optimality."""
    # The bordered system [A 1; 1' 0] [w; mu] = [0; 1] has a solution even if one V is 0 and A is
    # singular, unlike w = A^-1 1 / (1' A^-1 1).
    v = xp.where(support, v, 0.0)
    b = xp.where(support, b, 0.0)
    # w does not depend on the scale of A, but the condition of the bordered system does
    scale = xp.maximum(v, b**2).max(-1, keepdims=True)
    scale = xp.where(scale > 0, scale, 1.0)
    v, b = v / scale, b / xp.sqrt(scale)
    size = v.shape[-1]
    # the equation of a node outside of the support is w_j = 0
    diagonal = xp.where(support, v, 1.0)
    matrix = diagonal[..., None] * xp.eye(size) + b[..., :, None] * b[..., None, :]
    ones = support.astype(v.dtype)[..., None]
    corner = xp.zeros((*v.shape[:-1], 1, 1), v.dtype)
    bordered = xp.concatenate(
        [
            xp.concatenate([matrix, ones], -1),
            xp.concatenate([xp.swapaxes(ones, -1, -2), corner], -1),
        ],
        -2,
    )
    right = xp.zeros((*v.shape[:-1], size + 1, 1), v.dtype) + xp.eye(size + 1)[:, -1:].astype(
        v.dtype
    )
    return xp.linalg.solve(bordered, right)[..., :size, 0]


def _positive(v: Any, b: Any) -> np.ndarray:
    """Returns a mask of the weights that are positive in the best average over the simplex."""
    # The minimum of u'Au + (1'u - 1)^2 over u >= 0 is a multiple of w*: for each value of 1'u, the
    # first term is smallest at that multiple. This is least squares with the rows below.
    import scipy.optimize  # slow to import

    v, b = np.asarray(v, float), np.asarray(b, float)
    support = np.zeros(v.shape, bool)
    for place in np.ndindex(v.shape[:-1]):
        scale = max(v[place].max(), (b[place] ** 2).max()) or 1.0
        rows = [np.diag(np.sqrt(v[place] / scale)), b[place] / np.sqrt(scale), np.ones(v.shape[-1])]
        target = np.zeros(v.shape[-1] + 2)
        target[-1] = 1
        support[place] = scipy.optimize.nnls(np.vstack(rows), target)[0] > 0
    return support


def _positive_traced(v: Any, b: Any) -> Any:
    # nnls runs on the host; the support is piecewise constant, so it has no derivative
    shape = jax.ShapeDtypeStruct(v.shape, bool)
    v, b = jax.lax.stop_gradient((v, b))
    return jax.pure_callback(_positive, shape, v, b, vmap_method="broadcast_all")
