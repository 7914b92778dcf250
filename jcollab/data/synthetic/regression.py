"""Least-squares problems with exactly known gradient noise: Gaussian and one-hot features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import Array, PyTree


class Regression(NamedTuple):
    """The problem ``f(x) = E (a'x - y)^2 / 2``, which has its optimum at 0.

    Attributes:
        eigenvalues: eigenvalues of the Hessian, ``[d]``.
        label_noise: variance of y.
        one_hot: True if ``a`` is a unit vector ``e_j`` with j uniform, scaled so that the Hessian
            is ``diag(eigenvalues)``; False if ``a`` is Gaussian.
    """

    eigenvalues: Any
    label_noise: Any
    one_hot: Any


class Examples(NamedTuple):
    """A batch of a regression problem.

    Attributes:
        a: features, ``[..., b, d]``.
        y: labels, ``[..., b]``.
        weight: ``[..., b]``, 1 / b for the examples that are used and 0 for the others.
    """

    a: Array
    y: Array
    weight: Array


def gaussian_regression(eigenvalues: Any, *, label_noise: Any = 0.0) -> Regression:
    """Builds a problem with features ``a ~ N(0, diag(lambda))`` and labels ``y ~ N(0, s^2)``.

    For ``lambda = 1``, the ratio of noise to signal is exactly M = d + 1 (plus
    ``d s^2 / |x|^2``).

    Args:
        eigenvalues: lambda > 0, ``[d]``; may be traced.
        label_noise: s^2 >= 0; may be traced.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> problem = jc.data.synthetic.gaussian_regression([1.0, 0.5])
        >>> jc.data.synthetic.regression_value(problem, jnp.array([2.0, 2.0])).item()
        3.0
    """
    if np.ndim(eigenvalues) != 1 or np.size(eigenvalues) < 1:
        raise ValueError(f"eigenvalues must be positive, of shape [d], got {eigenvalues}")
    checks.number("eigenvalues", eigenvalues, above=0, arrays=True)
    checks.number("label_noise", label_noise, at_least=0)
    return Regression(
        jnp.asarray(eigenvalues, float), jnp.asarray(label_noise, float), jnp.bool_(False)
    )


def one_hot_regression(d: int) -> Regression:
    """Builds ``f(x) = (1/d) sum_j x_j^2 / 2`` with gradients ``x_j e_j``, j uniform: 1 + M = d.

    Raises:
        ValueError: if d < 1.

    Example:
        >>> problem = jc.data.synthetic.one_hot_regression(4)
        >>> jc.data.synthetic.regression_value(problem, jnp.ones(4)).item()
        0.5
    """
    checks.count("d", d)
    return Regression(jnp.full(d, 1 / d), jnp.zeros(()), jnp.bool_(True))


def regression_samples(
    batch_size: int | Array, maximum: int | None = None, *, n: int = 1
) -> Callable[[Regression, Array, Array], Examples]:
    """Builds a function for :func:`jcollab.data.from_function` that draws new examples each round.

    Args:
        batch_size: b in 1..maximum; may be traced, so that ``vmap`` can run several values. The
            first b examples are the same for every b.
        maximum: largest batch size, a Python integer; None for ``batch_size``.
        n: number of clients.

    Returns:
        ``function(problem, key, step) -> Examples`` with leaves ``[n, maximum, ...]``.

    Raises:
        ValueError: if a number is below 1, batch_size exceeds the maximum, or the maximum is
            missing for a traced batch_size.

    Example:
        >>> problem = jc.data.synthetic.one_hot_regression(3)
        >>> sample = jc.data.synthetic.regression_samples(2, n=4)
        >>> batches = jc.data.from_function(sample, problem)
        >>> jax.eval_shape(batches.draw, jax.random.key(0), 0).a.shape
        (4, 2, 3)
    """
    traced = isinstance(batch_size, jax.core.Tracer)
    if not traced and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if maximum is None:
        if traced:
            raise ValueError("maximum must be given for a traced batch_size, got None")
        maximum = int(batch_size)
    if maximum < 1 or (not traced and batch_size > maximum):
        raise ValueError(f"batch_size must be in 1..maximum={maximum}, got {batch_size}")
    checks.count("n", n)
    size: int = maximum

    def one(problem: Regression, key: Array) -> tuple[Array, Array]:
        d = problem.eigenvalues.shape[0]
        feature_key, label_key = jax.random.split(key)
        gaussian = jnp.sqrt(problem.eigenvalues) * jax.random.normal(feature_key, (d,))
        # Both kinds of features are computed and one is selected, so that problems of both kinds
        # can be stacked and run in one vmap. Only one is used: both may use the same key.
        place = jax.random.randint(feature_key, (), 0, d, jnp.int32)
        unit = (jnp.arange(d) == place) * jnp.sqrt(d * problem.eigenvalues)
        a = jnp.where(problem.one_hot, unit, gaussian)
        return a, jnp.sqrt(problem.label_noise) * jax.random.normal(label_key)

    def sample(problem: Regression, key: Array, step: Array) -> Examples:
        # one key for each example: example j does not depend on the batch size
        folded = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
        clients = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
        a, y = jax.vmap(jax.vmap(lambda k: one(problem, k)))(folded(clients, jnp.arange(size)))
        weight = jnp.where(jnp.arange(size) < batch_size, 1 / batch_size, 0)
        return Examples(a, y, jnp.broadcast_to(weight.astype(a.dtype), (n, size)))

    return sample


def regression_loss(params: Array, batch: Examples, key: Array) -> Array:
    """Computes ``sum_j weight_j (a_j'x - y_j)^2 / 2`` of params ``x [d]``, the loss of one client.

    Example:
        >>> batch = jc.data.synthetic.Examples(jnp.eye(2), jnp.zeros(2), jnp.full(2, 0.5))
        >>> jc.data.synthetic.regression_loss(jnp.array([2.0, 0.0]), batch, None).item()
        1.0
    """
    del key
    return 0.5 * jnp.sum(batch.weight * (batch.a @ params - batch.y) ** 2)


def regression_value(problem: Regression, params: PyTree) -> Array:
    """Computes ``f(x) - f* = sum_j lambda_j x_j^2 / 2`` of params ``[..., d]``.

    Example:
        >>> problem = jc.data.synthetic.gaussian_regression([1.0, 3.0])
        >>> jc.data.synthetic.regression_value(problem, jnp.eye(2)).tolist()
        [0.5, 1.5]
    """
    return 0.5 * jnp.sum(problem.eigenvalues * params**2, axis=-1)
