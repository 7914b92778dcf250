"""Differential privacy of released class means: the Gaussian mechanism on bounded values.

dp-accounting accounts for it (``pip install "jax-collab[privacy]"``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jcollab import checks

Array = jax.Array


class Release(NamedTuple):
    """What is done to values before they leave a client.

    Attributes:
        bound: ``bound(values [b, d]) -> values``, so that one example can change little.
        noise: ``noise(key, means [C, d], counts [C]) -> means``.
    """

    bound: Callable[[Array], Array]
    noise: Callable[[Array, Array, Array], Array]


def gaussian_mechanism(noise_multiplier: float, norm_bound: float) -> Release:
    """Gaussian noise on class means of values with a bounded norm.

        v <- v min(1, B / ||v||),    m_c <- m_c + (2 B / k_c) z N(0, I)

    Two data sets are neighbors when one example has other inputs and the same label: one class
    mean then moves by at most 2 B / k_c. Labels, and so the counts k_c, are taken as public.
    Features that end in tanh have norms of at most sqrt(d). Every release in a round (class means,
    each observation) is one use of the mechanism, see :func:`epsilon`. An observation of ``k``
    examples that are drawn at random gets noise for k examples, and its drawing is not counted as
    an amplification.

    Args:
        noise_multiplier: z, positive; noise in units of the sensitivity.
        norm_bound: B, positive.

    Raises:
        ValueError: if a number is not positive.

    Source: Dwork and Roth 2014, appendix A.
    """
    checks.finite(above=0, noise_multiplier=noise_multiplier, norm_bound=norm_bound)

    def bound(values: Array) -> Array:
        square = jnp.sum(jnp.square(values), axis=-1, keepdims=True)
        return values * jnp.minimum(1, norm_bound * jax.lax.rsqrt(jnp.maximum(square, 1e-30)))

    def noise(key: Array, means: Array, counts: Array) -> Array:
        scale = 2 * norm_bound * noise_multiplier / jnp.maximum(counts, 1)
        drawn = jax.random.normal(key, means.shape, means.dtype)
        return jnp.where(counts[:, None] > 0, means + scale[:, None] * drawn, 0)

    return Release(bound, noise)


def epsilon(
    noise_multiplier: float, num_rounds: int, delta: float, *, releases_per_round: int = 2
) -> float:
    """epsilon of (epsilon, delta)-differential privacy after so many rounds, for each client.

    Args:
        noise_multiplier: z of :func:`gaussian_mechanism`.
        num_rounds: T.
        delta: in (0, 1).
        releases_per_round: 1 + M, class means and M observations.

    Raises:
        ImportError: without dp-accounting.
        ValueError: if a number is out of range.

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
    # the noise is in units of what a replaced example changes already, so the accountant's own
    # relation, under which a multiplier is one of the sensitivity, needs no factor
    accountant = pld.PLDAccountant()
    event = dp_accounting.GaussianDpEvent(noise_multiplier)
    accountant.compose(event, num_rounds * releases_per_round)
    return float(accountant.get_epsilon(delta))
