"""Differential privacy of released class means, by the Gaussian mechanism on bounded values.

The accounting requires dp-accounting (``pip install "jax-collab[privacy]"``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jcollab import checks

Array = jax.Array


class Release(NamedTuple):
    """Functions that are applied to values before a client sends them.

    Attributes:
        bound: ``bound(values [b, d]) -> values``, which bounds the influence of one example.
        noise: ``noise(key, means [C, d], counts [C]) -> means``, which adds noise to class means.

    Example:
        >>> release = jc.privacy.gaussian_mechanism(noise_multiplier=1.0, norm_bound=1.0)
        >>> release.bound(jnp.array([[0.0, 4.0], [0.0, 0.5]])).round(2).tolist()
        [[0.0, 1.0], [0.0, 0.5]]
    """

    bound: Callable[[Array], Array]
    noise: Callable[[Array, Array, Array], Array]


def gaussian_mechanism(noise_multiplier: float, norm_bound: float) -> Release:
    """Builds the Gaussian mechanism for class means of values with a bounded norm.

        v <- v min(1, B / ||v||),    m_c <- m_c + (2 B / k_c) z N(0, I)

    Two data sets are neighbors if one example has other inputs and the same label. Then one class
    mean changes by at most 2 B / k_c. Labels, and therefore the counts k_c, are public. Features
    that end in tanh have norms of at most sqrt(d). Each release in a round (class means, each
    observation) is one use of the mechanism, see :func:`epsilon`. An observation of ``k`` examples
    that are drawn at random gets noise for k examples; the drawing is not counted as amplification.

    Args:
        noise_multiplier: z, positive; noise in units of the sensitivity.
        norm_bound: B, positive.

    Raises:
        ValueError: if a number is not positive.

    Example:
        >>> release = jc.privacy.gaussian_mechanism(noise_multiplier=1.0, norm_bound=5.0)
        >>> values = release.bound(jnp.array([[3.0, 4.0], [30.0, 40.0]]))  # norms 5 and 50
        >>> jnp.linalg.norm(values, axis=1).round(2).tolist()
        [5.0, 5.0]
        >>> release.noise(jax.random.key(0), values.mean(0, keepdims=True), jnp.array([2])).shape
        (1, 2)

    Source: Dwork and Roth 2014, appendix A.
    """
    checks.finite(above=0, noise_multiplier=noise_multiplier, norm_bound=norm_bound)

    def bound(values: Array) -> Array:
        # 1e-30 keeps the gradient of a zero vector finite, where that of the norm is NaN
        square = jnp.sum(jnp.square(values), axis=-1, keepdims=True)
        return values * jnp.minimum(1, norm_bound * jax.lax.rsqrt(jnp.maximum(square, 1e-30)))

    def noise(key: Array, means: Array, counts: Array) -> Array:
        scale = 2 * norm_bound * noise_multiplier / jnp.maximum(counts, 1)
        drawn = jax.random.normal(key, means.shape, means.dtype)
        # a class without examples releases zeros: its absence is public, as all counts are
        return jnp.where(counts[:, None] > 0, means + scale[:, None] * drawn, 0)

    return Release(bound, noise)


def epsilon(
    noise_multiplier: float, num_rounds: int, delta: float, *, releases_per_round: int = 2
) -> float:
    """Computes epsilon of (epsilon, delta)-differential privacy after T rounds, per client.

    Args:
        noise_multiplier: z of :func:`gaussian_mechanism`.
        num_rounds: T.
        delta: in (0, 1).
        releases_per_round: 1 + M, class means and M observations.

    Raises:
        ImportError: if dp-accounting is not installed.
        ValueError: if a number is out of range.

    Example:
        >>> more_noise = jc.privacy.epsilon(8.0, num_rounds=10, delta=1e-5)
        >>> less_noise = jc.privacy.epsilon(4.0, num_rounds=10, delta=1e-5)
        >>> round(more_noise, 1), round(less_noise, 1)
        (2.3, 5.0)

    Source: privacy loss distributions of dp-accounting (Google).
    """
    checks.number("noise_multiplier", noise_multiplier, above=0, finite=True)
    checks.number("delta", delta, above=0, below=1)
    checks.counts(num_rounds=num_rounds, releases_per_round=releases_per_round)
    try:
        import dp_accounting
        from dp_accounting import pld
    except ImportError as error:
        raise ImportError(
            'epsilon needs dp-accounting: pip install "jax-collab[privacy]"'
        ) from error
    # The noise is already in units of the change 2 B / k_c by a replaced example. The accountant's
    # default relation takes the multiplier in units of the sensitivity, so no factor is needed.
    accountant = pld.PLDAccountant()
    event = dp_accounting.GaussianDpEvent(noise_multiplier)
    accountant.compose(event, num_rounds * releases_per_round)
    return float(accountant.get_epsilon(delta))
