"""How noisy gradients are, and what follows for batches, delays and learning rates.

With gradients ``grad f(x) + xi``, the ratio ``C(x) = E|xi|^2 / |grad f(x)|^2`` of noise to signal
is the batch, and the delay, up to which more clients help: a mean over b examples has the
ratio C / b, and a delay matters once it exceeds ``1 + C``. Estimators here take any loss and
any model.

Source: Stich, Mohtashami and Jaggi 2021, arXiv 2103.02351 (one critical parameter for batches and
delays); McCandlish et al. 2018, arXiv 1812.06162 (two batch sizes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jcollab import checks, layout
from jcollab.core import Array, Loss, Metrics, PyTree, State, lift, params_of, widen


class NoiseScale(NamedTuple):
    """Noise and signal of the gradient of one example at a point.

    Attributes:
        signal: ``|grad f(x)|^2``.
        noise: ``E|xi|^2``, the trace of the covariance of a single example's gradient.
    """

    signal: Any
    noise: Any

    @property
    def ratio(self) -> Any:
        """``C = noise / signal``."""
        return self.noise / self.signal


class Fit(NamedTuple):
    """``noise <= M signal + sigma^2`` along a trajectory.

    Attributes:
        noise_ratio: M.
        variance: sigma^2.
    """

    noise_ratio: float
    variance: float


def per_sample(
    loss: Loss,
    params: PyTree,
    examples: PyTree,
    *,
    model_state: PyTree = (),
    key: Array | None = None,
    unbiased: bool = False,
    chunk: int | None = None,
) -> NoiseScale:
    """From the gradient of every example: ``|mean g_i|^2`` and ``mean |g_i|^2 - |mean g_i|^2``.

    Args:
        loss: loss of ONE client, see :func:`jcollab.core.lift`, given batches of one example.
        params: a model, without a client axis.
        examples: leaves ``[N, ...]``.
        model_state: what the loss carries along.
        key: for losses that draw; example i gets ``fold_in(key, i)``.
        unbiased: whether the examples are themselves a sample of what the noise is asked of; then
            the noise is multiplied by ``N / (N - 1)`` and ``noise / N`` is taken off the signal.
            Else they are all that there is.
        chunk: examples that are differentiated together; None by memory.

    Returns:
        Scalars.

    Raises:
        ValueError: if leaves differ in N, or N < 2 where unbiased.
    """
    count = layout.num_clients(examples, "examples")
    if unbiased and count < 2:
        raise ValueError(f"examples must be at least 2 for an unbiased estimate, got {count}")
    gradient = _gradient(loss)
    keys = layout.client_keys(jax.random.key(0) if key is None else key, count)

    def one(example: PyTree, key: Array) -> tuple[PyTree, Array]:
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        grads = gradient(params, model_state, batch, key)
        return grads, _square(grads)

    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    examples = jax.tree.map(jnp.asarray, examples)
    total, squares = layout.client_sum(one, chunk, bytes_each=max(size, 256))(examples, keys)
    signal = _square(jax.tree.map(lambda leaf: leaf / count, total))
    noise = squares / count - signal
    if unbiased:
        noise = noise * count / (count - 1)
        signal = signal - noise / count
    return NoiseScale(signal, noise)


def two_batches(small_square: Any, large_square: Any, small: int, large: int) -> NoiseScale:
    """From squared norms ``Q_b = |g_b|^2`` of the gradients of batches of two sizes.

        signal = (b2 Q2 - b1 Q1) / (b2 - b1),    noise = (Q1 - Q2) / (1/b1 - 1/b2)

    Both are unbiased; their ratio is not, so average each before dividing. In a mini-batch run, the
    small batch is that of a client and the large one that of all of them.

    Args:
        small_square: Q1, a number or an array of repetitions, over which the mean is taken.
        large_square: Q2.
        small: b1 >= 1.
        large: b2 > b1.

    Raises:
        ValueError: unless 1 <= small < large.

    Example:
        >>> estimate = jc.theory.noise_scale.two_batches(11.0, 2.0, small=1, large=10)
        >>> round(float(estimate.signal), 4), round(float(estimate.noise), 4)
        (1.0, 10.0)
    """
    checks.number("small", small, at_least=1)
    checks.number("large", large, above=None if checks.traced(small) else small)
    first, second = jnp.mean(jnp.asarray(small_square)), jnp.mean(jnp.asarray(large_square))
    signal = (large * second - small * first) / (large - small)
    return NoiseScale(signal, (first - second) / (1 / small - 1 / large))


def from_batches(
    loss: Loss,
    params: PyTree,
    sample: Callable[[Array, int], PyTree],
    key: Array,
    *,
    small: int,
    large: int,
    repeats: int,
    model_state: PyTree = (),
) -> NoiseScale:
    """Draws batches of two sizes and applies :func:`two_batches`.

    Args:
        loss: as for :func:`per_sample`.
        params: a model.
        sample: ``sample(key, size) -> batch`` with leaves ``[size, ...]``.
        key: random key.
        small: size of the small batches, at least 1.
        large: size of the large batches, above ``small``.
        repeats: number of batches of either size, at least 1.
        model_state: what the loss carries along.

    Returns:
        Scalars.

    Raises:
        ValueError: if a number is out of range.
    """
    checks.number("small", small, at_least=1)
    checks.number("large", large, above=small)
    checks.count("repeats", repeats)
    gradient = _gradient(loss)

    def squares(size: int, key: Array) -> Array:
        def one(key: Array) -> Array:
            draw, use = jax.random.split(key)
            return _square(gradient(params, model_state, sample(draw, size), use))

        return jax.lax.map(one, jax.random.split(key, repeats))

    first, second = jax.random.split(key)
    return two_batches(squares(small, first), squares(large, second), small, large)


def measured(
    loss: Loss, examples: PyTree, *, model_state: PyTree = (), chunk: int | None = None
) -> Callable[[State], Metrics]:
    """A metric for :func:`jcollab.with_metrics`: ``signal`` and ``noise`` of the mean model.

    Args:
        loss: as for :func:`per_sample`.
        examples: leaves ``[N, ...]``; all that there are.
        model_state: what the loss carries along.
        chunk: as for :func:`per_sample`.
    """

    def noise_scale(state: State) -> Metrics:
        model = jax.tree.map(lambda leaf: leaf.mean(0), params_of(state))
        estimate = per_sample(loss, model, examples, model_state=model_state, chunk=chunk)
        return {"signal": estimate.signal, "noise": estimate.noise}

    return noise_scale


def fit(signal: Any, noise: Any, *, weights: Any = None) -> Fit:
    """M and sigma^2 by non-negative least squares of ``noise = M signal + sigma^2``.

    Args:
        signal: ``|grad f|^2`` along a trajectory, ``[T]``.
        noise: ``E|xi|^2``, ``[T]``.
        weights: of the squared errors, ``[T]``; None for equal ones. ``1 / noise^2`` makes the
            errors relative, so that the end of a trajectory counts as much as its start.

    Raises:
        ValueError: if there are fewer than 2 points, or lengths differ.
    """
    import scipy.optimize  # slow to import

    x, y = np.asarray(signal, float), np.asarray(noise, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"signal and noise must be of one shape [T] with T >= 2, got {x.shape} and {y.shape}"
        )
    root = np.ones_like(x) if weights is None else np.sqrt(np.asarray(weights, float))
    if root.shape != x.shape:
        raise ValueError(f"weights must be of shape {x.shape}, got {root.shape}")
    columns = np.stack([x, np.ones_like(x)], 1)
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
    """L: the eigenvalue of the Hessian at params that is largest in size, by power iteration.

    Args:
        loss: as for :func:`per_sample`; called with all examples at once.
        params: a model.
        examples: leaves ``[N, ...]``.
        key: of the first direction.
        model_state: what the loss carries along.
        iterations: products with the Hessian, at least 1.

    Raises:
        ValueError: if iterations < 1.
    """
    checks.count("iterations", iterations)
    gradient = _gradient(loss)
    flat, restore = ravel_pytree(params)

    def slope(flat: Array, direction: Array) -> Array:
        grads = gradient(restore(flat), model_state, examples, key)
        return jnp.vdot(ravel_pytree(grads)[0], direction)

    # reverse mode twice: losses with rules for their gradient need not have a forward mode
    product = jax.grad(slope)

    def power(direction: Array, _: None) -> tuple[Array, Array]:
        new = product(flat, direction)
        size = jnp.linalg.norm(new)
        return new / jnp.maximum(size, 1e-30), size

    start = jax.random.normal(key, flat.shape, flat.dtype)
    _, sizes = jax.lax.scan(power, start / jnp.linalg.norm(start), None, length=iterations)
    return sizes[-1]


def critical(noise_ratio: Any, variance: Any = 0.0, accuracy: Any = 1.0) -> Any:
    """The critical parameter ``M + sigma^2 / eps``: where larger batches and delays stop helping.

    Args:
        noise_ratio: M >= 0.
        variance: sigma^2 >= 0.
        accuracy: eps > 0, the squared gradient norm that is aimed at; near a minimum with
            suboptimality ``f - f*`` and smoothness L, at most ``2 L (f - f*)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.noise_scale.critical(9.0, variance=1.0, accuracy=0.5)
        11.0
    """
    checks.number("noise_ratio", noise_ratio, at_least=0, arrays=True)
    checks.number("variance", variance, at_least=0, arrays=True)
    checks.number("accuracy", accuracy, above=0, arrays=True)
    return noise_ratio + variance / accuracy


def suggest_batch_size(critical: float, *, efficiency: float = 0.5) -> int:
    """The largest batch that still makes use of its examples.

    A batch of b speeds training up by ``b (1 + C) / (b + C)`` in steps, so each example is worth
    ``(1 + C) / (b + C)`` of one in a batch of 1: half at ``b = C + 2``.

    Args:
        critical: C >= 0, of :func:`critical` or a :class:`NoiseScale`'s ratio.
        efficiency: worth of an example that is asked for, in (0, 1].

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.noise_scale.suggest_batch_size(9.0)
        11
    """
    checks.finite(at_least=0, critical=critical)
    checks.number("efficiency", efficiency, above=0, at_most=1)
    return max(1, math.floor((1 + critical) / efficiency - critical + 1e-9))


def suggest_learning_rate(
    batch_size: Any = 1, delay: Any = 0, *, critical: Any, base: Any = 1.0
) -> Any:
    """``gamma_1 (1 + C) / (1 + C/b + 2 tau)`` from gamma_1, tuned for batch 1 without delay.

    It grows linearly with the batch up to ``b = C`` and is constant in the delay up to
    ``tau = (1 + C) / 2``.

    Args:
        batch_size: b >= 1.
        delay: tau >= 0.
        critical: C >= 0.
        base: gamma_1 > 0; ``1 / (L (1 + C))`` where nothing was tuned.

    Raises:
        ValueError: if an argument is out of range. Traced ones are not checked.

    Example:
        >>> round(jc.theory.noise_scale.suggest_learning_rate(8, critical=8.0, base=0.1), 4)
        0.45
    """
    checks.number("batch_size", batch_size, at_least=1, arrays=True)
    checks.number("delay", delay, at_least=0, arrays=True)
    checks.number("critical", critical, at_least=0, arrays=True)
    checks.number("base", base, above=0, arrays=True)
    return base * (1 + critical) / (1 + critical / batch_size + 2 * delay)


def _gradient(loss: Loss) -> Callable[..., PyTree]:
    objective = lift(loss)
    differentiate = jax.grad(lambda *args: objective(*args)[0])
    return lambda params, model_state, batch, key: differentiate(params, model_state, batch, key)


def _square(tree: PyTree) -> Array:
    return optax.tree.norm(jax.tree.map(widen, tree), squared=True)
