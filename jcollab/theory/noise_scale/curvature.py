"""Curvature of a loss: its smoothness, and the noise of gradients along steep directions."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jcollab import checks, layout
from jcollab.core import Array, Loss, PyTree, lift
from jcollab.theory.noise_scale.estimates import NoiseScale, gradient_of


def curvature_weighted(
    loss: Loss,
    params: PyTree,
    examples: PyTree,
    *,
    model_state: PyTree = (),
    key: Array | None = None,
    probes: int | None = None,
) -> NoiseScale:
    """Computes noise and signal in the norm of the Hessian H of the loss.

        signal = g' H g,    noise = tr(H Sigma) = mean g_i' H g_i - g' H g,    g = mean g_i

    Their ratio is the batch size at which the best step along the gradient is half as useful as
    that of a full batch: the step ``-gamma (g + xi)`` with the noise of b examples changes a
    quadratic loss by ``-gamma |g|^2 + gamma^2 / 2 (g' H g + tr(H Sigma) / b)`` on average, which is
    at best ``-|g|^4 / (2 g' H g (1 + ratio / b))``. If H is a multiple of the identity, the ratio
    is that of :func:`per_sample`; noise in flat directions counts less here.

    H is the Hessian itself and not a Gauss-Newton matrix, since it determines the change of the
    loss, and since a loss need not be a function of a model's outputs. For a loss that is not
    convex, the signal may be negative or close to 0; then no step along the gradient is best, and
    the ratio has no meaning. Average noise and signal over several models before dividing.

    The number of steps of a whole run depends on the ratio of the means along it of
    ``tr(H Sigma) / |g|^2`` and ``g' H g / |g|^2``.

    Products with H take two reverse passes over all examples, since losses with a custom VJP have
    no forward mode. There are N + 1 of them, or ``probes`` + 1.

    Args:
        loss: as for :func:`per_sample`; it is called with all examples at once, and as
            a vectorized function with batches of one.
        params: parameters of a model, without a client axis.
        examples: leaves ``[N, ...]``, the whole population.
        model_state: state of the model, for a stateful loss.
        key: for random losses and for the probes; gradient i gets ``fold_in(key, i)``.
        probes: K, to estimate the noise from K sums of all gradients with random signs: without
            bias and, if H has no negative eigenvalue, with a standard error of at most
            ``sqrt(2 / K) (noise + signal)``. None for the exact value.

    Returns:
        Two scalars.

    Raises:
        ValueError: if leaves differ in N, or probes < 1.

    Example:
        >>> loss = lambda w, batch, key: ((w - batch) ** 2 @ jnp.array([1.0, 9.0])).mean() / 2
        >>> examples = jnp.array([[1.0, 1.0], [1.0, 3.0]])  # gradients at 0: (-1, -9), (-1, -27)
        >>> estimate = jc.theory.noise_scale.curvature_weighted(loss, jnp.zeros(2), examples)
        >>> float(estimate.signal), float(estimate.noise)  # 1 * 1 + 9 * 18^2, and 9 * 9^2
        (2917.0, 729.0)

    Source: McCandlish et al. 2018, arXiv 1812.06162.
    """
    checks.counts(probes=probes)
    count = layout.num_clients(examples, "examples")
    key = jax.random.key(0) if key is None else key
    keys = layout.client_keys(key, count)
    examples = jax.tree.map(jnp.asarray, examples)
    flat, restore = ravel_pytree(params)
    objective = lift(loss)

    def weighted(flat: Array, weights: Array) -> Array:
        def one(example: PyTree, key: Array) -> Array:
            batch = jax.tree.map(lambda leaf: leaf[None], example)
            return objective(restore(flat), model_state, batch, key)[0]

        return jnp.vdot(weights, jax.vmap(one)(examples, keys))

    # sum_i w_i g_i in one reverse pass, without the gradient of each example
    combined = jax.grad(weighted)
    product = hessian_product(loss, params, examples, key, model_state)

    def square(weights: Array) -> Array:
        direction = combined(flat, weights)
        return jnp.vdot(direction, product(direction))

    def signed(key: Array) -> Array:
        return square(jax.random.rademacher(key, (count,), flat.dtype)) / count

    # one direction at a time: a product with H already uses all examples
    if probes is None:
        one = functools.partial(jax.nn.one_hot, num_classes=count, dtype=flat.dtype)
        squares = jax.lax.map(lambda i: square(one(i)), jnp.arange(count))
    else:
        squares = jax.lax.map(signed, jax.random.split(key, probes))
    signal = square(jnp.full(count, 1 / count, flat.dtype))
    return NoiseScale(signal, squares.mean() - signal)


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
    product = hessian_product(loss, params, examples, key, model_state)

    def power(direction: Array, _: None) -> tuple[Array, Array]:
        new = product(direction)
        size = jnp.linalg.norm(new)
        return new / jnp.maximum(size, 1e-30), size

    flat = ravel_pytree(params)[0]
    start = jax.random.normal(key, flat.shape, flat.dtype)
    _, sizes = jax.lax.scan(power, start / jnp.linalg.norm(start), None, length=iterations)
    return sizes[-1]


def hessian_product(
    loss: Loss, params: PyTree, examples: PyTree, key: Array, model_state: PyTree
) -> Callable[[Array], Array]:
    """Builds ``product(v) = H v`` for flat vectors, with the Hessian over all examples."""
    flat, restore = ravel_pytree(params)
    gradient = gradient_of(loss)

    def slope(flat: Array, direction: Array) -> Array:
        grads = gradient(restore(flat), model_state, examples, key)
        return jnp.vdot(ravel_pytree(grads)[0], direction)

    # reverse mode twice, since a loss with a custom VJP has no forward mode
    product = jax.grad(slope)
    return lambda direction: product(flat, direction)
