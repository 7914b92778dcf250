"""Clipping rules, which bound how far one message can move the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import rule, squared_distances, weighted_step
from jcollab.core import Array, PyTree, Receiver, Rule

Radius = Callable[[Array, Array, Receiver], Array]


def self_centered_clip(radius: Any) -> Rule:
    """Builds the ClippedGossip rule: gossip that clips each difference to the client's own value.

        x' = x + sum_k w_k CLIP(x_k - x, tau),    CLIP(v, tau) = v min(1, tau / ||v||)

    The norm is over the whole pytree. A byzantine client of weight w moves x by at most ``w tau``.
    An infinite radius gives plain gossip, and radius 0 keeps x. A message with a NaN counts as x.

    Args:
        radius: tau >= 0, a number (possibly traced) or a function ``radius(distances [K], weights
            [K], context) -> tau``, for example :func:`oracle_radius` or
            :func:`second_largest_distance`.

    Raises:
        ValueError: if a radius is negative or NaN.

    Example:
        >>> rule, sent = jc.aggregators.self_centered_clip(1.0), jnp.array([[0.5], [100.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> round(float(aggregate(rule, jnp.zeros(1), sent)[0]), 3)  # (0.5 + 1) / 3
        0.5

    Source: He, Karimireddy and Jaggi 2022, arXiv 2202.01545.
    """
    if not callable(radius):
        checks.number("radius", radius, at_least=0)

    def clipped(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        distances = jnp.sqrt(squared_distances(own, messages))
        tau = radius(distances, weights, context) if callable(radius) else radius
        return weighted_step(own, messages, weights * _shrinkage(distances, tau))

    return rule(clipped, name="self_centered_clip")


def oracle_radius(byzantine: Any) -> Radius:
    """Builds the radius of the theory, which requires knowledge of the byzantine clients.

        tau_i^2 = (1 / delta_i) sum_{j honest} w_ij ||x_j - x_i||^2,    delta_i = sum_{j byz} w_ij

    It is infinite if ``delta_i = 0``. At consensus of the honest clients it is 0, whatever
    byzantine clients send.

    Args:
        byzantine: bool ``[n]``.

    Returns:
        ``radius(distances, weights, context) -> tau``.

    Raises:
        TypeError: if ``byzantine`` is not a mask.

    Example:
        >>> radius = jax.jit(jc.aggregators.oracle_radius(np.array([False, False, True])))
        >>> distances, context = jnp.array([2.0, 50.0]), jc.core.Receiver(senders=jnp.array([1, 2]))
        >>> float(radius(distances, jnp.array([0.25, 0.25]), context))  # sqrt(0.25 * 2^2 / 0.25)
        2.0

    Source: He, Karimireddy and Jaggi 2022, arXiv 2202.01545.
    """
    checks.mask("byzantine", byzantine, ("n",))
    mask = jnp.asarray(byzantine)

    def radius(distances: Array, weights: Array, context: Receiver) -> Array:
        bad = mask[context.senders]
        delta = jnp.sum(jnp.where(bad, weights, 0))
        spread = jnp.sum(jnp.where(bad | (weights == 0), 0, weights * distances**2))
        return jnp.where(delta > 0, jnp.sqrt(spread / jnp.where(delta > 0, delta, 1)), jnp.inf)

    return radius


def second_largest_distance() -> Radius:
    """Builds an adaptive radius: the second largest distance of a neighbor, or the only one.

    Returns:
        ``radius(distances, weights, context) -> tau``.

    Example:
        >>> radius = jc.aggregators.second_largest_distance()
        >>> float(radius(jnp.array([1.0, 9.0, 2.0]), jnp.full(3, 0.25), jc.core.Receiver()))
        2.0

    Source: code of He, Karimireddy and Jaggi 2022, arXiv 2202.01545.
    """

    def radius(distances: Array, weights: Array, context: Receiver) -> Array:
        # Absent messages get distance 0 and sort below the present ones.
        present = weights > 0
        ranked = jnp.sort(jnp.where(present, distances, 0))
        if len(ranked) == 1:
            return ranked[-1]
        return jnp.where(present.sum() > 1, ranked[-2], ranked[-1])

    return radius


def centered_clip(radius: Any, iterations: int = 1) -> Rule:
    """Builds the CenteredClip rule, which clips differences to the result of the last round.

        v <- v + (1/m) sum_k CLIP(x_k - v, tau)    over the own value and the messages

    The center v starts at the receiver's first value and is the result of every round.

    Args:
        radius: tau >= 0; may be traced.
        iterations: steps per round, at least 1.

    Raises:
        ValueError: if the radius is negative or NaN, or iterations < 1.

    Example:
        >>> rule, sent = jc.aggregators.centered_clip(1.0), jnp.array([[0.5], [100.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> float(aggregate(rule, jnp.zeros(1), sent)[0])  # (0 + 0.5 + 1) / 3
        0.5

    Source: Karimireddy, He and Jaggi 2021, arXiv 2012.10333.
    """
    checks.number("radius", radius, at_least=0)
    checks.count("iterations", iterations)

    def update(
        own: PyTree, messages: PyTree, weights: Array, s: PyTree, context: Receiver
    ) -> tuple[PyTree, PyTree]:
        own_counts = context.own_counts
        present = (weights > 0).astype(weights.dtype)
        count = jnp.maximum(present.sum() + int(own_counts), 1)
        first = jax.tree.map(lambda leaf: leaf[None], own)
        for _ in range(iterations):
            center = s
            shrink = _shrinkage(jnp.sqrt(squared_distances(center, messages)), radius)
            s = weighted_step(center, messages, shrink * present / count)
            # The own value is one more message of the same step: its move is measured from the
            # center of this step, not from the one that the messages have already moved.
            if own_counts:
                shrink = _shrinkage(jnp.sqrt(squared_distances(center, first)), radius)
                moved = weighted_step(center, first, shrink / count)
                s = jax.tree.map(lambda a, b, v: a + (b - v), s, moved, center)
        return s, s

    return Rule(lambda own: own, update, name="centered_clip")


def _shrinkage(distances: Array, radius: Any) -> Array:
    """Computes ``min(1, tau / d)``; 0 if the distance is NaN."""
    # The inner `where` keeps d = 0 out of the division, also in derivatives.
    far = distances > radius
    share = radius / jnp.where(far, distances, 1)
    return jnp.where(far, share, jnp.where(jnp.isnan(distances), 0.0, 1.0))
