"""Estimates of the noise and signal of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.core import Array, Loss, Metrics, PyTree, State, lift, params_of, widen


class NoiseScale(NamedTuple):
    """Noise and signal of the gradient of one example at a point.

    Attributes:
        signal: ``|grad f(x)|^2``.
        noise: ``E|xi|^2``, the trace of the covariance of a single example's gradient.

    Example:
        >>> jc.theory.noise_scale.NoiseScale(signal=2.0, noise=10.0).ratio
        5.0
    """

    signal: Any
    noise: Any

    @property
    def ratio(self) -> Any:
        """``C = noise / signal``."""
        return self.noise / self.signal


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
    """Computes noise and signal from the gradient of every example.

        signal = |mean g_i|^2,    noise = mean |g_i|^2 - |mean g_i|^2

    Args:
        loss: loss of ONE client, see :func:`jcollab.core.lift`; it is called with batches of one
            example.
        params: parameters of a model, without a client axis.
        examples: leaves ``[N, ...]``.
        model_state: state of the model, for a stateful loss.
        key: for random losses; example i gets ``fold_in(key, i)``.
        unbiased: whether the examples are a sample of a larger population. The noise is then
            multiplied by ``N / (N - 1)``, and ``noise / N`` is subtracted from the signal. False
            if the examples are the whole population.
        chunk: number of examples that are differentiated together; None to choose it by memory.

    Returns:
        Two scalars.

    Raises:
        ValueError: if leaves differ in N, or ``unbiased`` and N < 2.

    Example:
        >>> loss = lambda w, batch, key: ((w - batch) ** 2).sum() / 2  # gradient w - batch
        >>> estimate = jc.theory.noise_scale.per_sample(loss, jnp.array(0.0), jnp.array([1.0, 3.0]))
        >>> float(estimate.signal), float(estimate.noise)  # of gradients -1 and -3
        (4.0, 1.0)
    """
    count = layout.num_clients(examples, "examples")
    if unbiased and count < 2:
        raise ValueError(f"examples must be at least 2 for an unbiased estimate, got {count}")
    gradient = gradient_of(loss)
    keys = layout.client_keys(jax.random.key(0) if key is None else key, count)

    def one(example: PyTree, key: Array) -> tuple[PyTree, Array]:
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        grads = gradient(params, model_state, batch, key)
        return grads, _square(grads)

    # gradients are summed in chunks and never stacked: N copies of the model might not fit
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    examples = jax.tree.map(jnp.asarray, examples)
    total, squares = layout.client_sum(one, chunk, bytes_each=max(size, 256))(examples, keys)
    signal = _square(jax.tree.map(lambda leaf: leaf / count, total))
    noise = squares / count - signal
    if unbiased:
        # the mean of N gradients has noise / N, which |mean g|^2 contains on average
        noise = noise * count / (count - 1)
        signal = signal - noise / count
    return NoiseScale(signal, noise)


def two_batches(small_square: Any, large_square: Any, small: int, large: int) -> NoiseScale:
    """Computes noise and signal from the squared norms ``Q_b = |g_b|^2`` of batches of two sizes.

        signal = (b2 Q2 - b1 Q1) / (b2 - b1),    noise = (Q1 - Q2) / (1/b1 - 1/b2)

    Both estimates are unbiased, but their ratio is biased; average each of them before dividing.
    In a mini-batch run, use the batch of one client and the union of all clients' batches.

    Args:
        small_square: Q1, a number, or an array of repetitions that is averaged.
        large_square: Q2, likewise.
        small: b1 >= 1.
        large: b2 > b1.

    Returns:
        Two scalars.

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
    """Draws batches of two sizes and applies :func:`two_batches` to their gradients.

    Args:
        loss: as for :func:`per_sample`.
        params: parameters of a model.
        sample: ``sample(key, size) -> batch`` with leaves ``[size, ...]``.
        key: random key.
        small: size of the small batches, at least 1.
        large: size of the large batches, above ``small``.
        repeats: number of batches of each size, at least 1.
        model_state: state of the model, for a stateful loss.

    Returns:
        Two scalars.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> loss = lambda w, batch, key: ((w - batch) ** 2).mean() / 2  # gradient w - mean(batch)
        >>> sample = lambda key, size: 1 + 2 * jax.random.normal(key, (size,))
        >>> estimate = jc.theory.noise_scale.from_batches(
        ...     loss, jnp.array(0.0), sample, jax.random.key(0), small=1, large=100, repeats=2000
        ... )
        >>> round(float(estimate.signal)), round(float(estimate.noise))
        (1, 4)
    """
    checks.number("small", small, at_least=1)
    checks.number("large", large, above=small)
    checks.count("repeats", repeats)
    gradient = gradient_of(loss)

    def squares(size: int, key: Array) -> Array:
        def one(key: Array) -> Array:
            draw, use = jax.random.split(key)
            return _square(gradient(params, model_state, sample(draw, size), use))

        # one batch at a time: the memory does not grow with the number of repetitions
        return jax.lax.map(one, jax.random.split(key, repeats))

    first, second = jax.random.split(key)
    return two_batches(squares(small, first), squares(large, second), small, large)


def measured(
    loss: Loss, examples: PyTree, *, model_state: PyTree = (), chunk: int | None = None
) -> Callable[[State], Metrics]:
    """Builds a metric for :func:`jcollab.with_metrics`: noise and signal at the mean model.

    Args:
        loss: as for :func:`per_sample`.
        examples: leaves ``[N, ...]``, the whole population.
        model_state: state of the model, for a stateful loss.
        chunk: as for :func:`per_sample`.

    Returns:
        ``metric(state) -> {"signal": [], "noise": []}``.

    Example:
        >>> loss = lambda w, batch, key: ((w - batch) ** 2).sum() / 2
        >>> metric = jc.theory.noise_scale.measured(loss, jnp.array([1.0, 3.0]))
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.identity())
        >>> state = algorithm.init(jnp.array([-1.0, 1.0]))  # two clients, their mean is 0
        >>> {name: float(value) for name, value in metric(state).items()}
        {'signal': 4.0, 'noise': 1.0}
    """

    def noise_scale(state: State) -> Metrics:
        model = jax.tree.map(lambda leaf: leaf.mean(0), params_of(state))
        estimate = per_sample(loss, model, examples, model_state=model_state, chunk=chunk)
        return {"signal": estimate.signal, "noise": estimate.noise}

    return noise_scale


def gradient_of(loss: Loss) -> Callable[..., PyTree]:
    """Builds ``gradient(params, model_state, batch, key)`` of a loss of one client."""
    objective = lift(loss)
    differentiate = jax.grad(lambda *args: objective(*args)[0])
    return lambda params, model_state, batch, key: differentiate(params, model_state, batch, key)


def _square(tree: PyTree) -> Array:
    # squares of gradients in half precision overflow and underflow early
    return optax.tree.norm(jax.tree.map(widen, tree), squared=True)
