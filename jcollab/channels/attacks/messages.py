"""Attacks on the values of messages: dissensus, ALIE, IPM, bit flips, noise and mimicry."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks, layout
from jcollab.aggregators.common import squared_distances, weighted_sum
from jcollab.core import Array, Attack, PyTree, Wire


def dissensus(epsilon: Any = 1.5, *, uniform: bool = False) -> Attack:
    """Builds an attack that pushes receivers away from their honest neighbors.

        x_i - epsilon ( sum_{j honest} w_ij (x_j - x_i) ) / ( sum_{j byzantine} w_ij )

    Plain gossip then moves the receiver by (1 - epsilon) times its move without the attack:
    epsilon = 1 freezes it, and a larger epsilon reverses the move.

    Args:
        epsilon: factor; may be traced.
        uniform: whether to compute with equal weights, for rules that ignore weights.

    Raises:
        ValueError: if epsilon is not a finite number.

    Example:
        >>> own, messages = jnp.array([1.0]), jnp.array([[3.0], [5.0]])
        >>> weights, byzantine = jnp.array([0.25, 0.25]), jnp.array([False, True])
        >>> attack = jc.channels.attacks.dissensus(1.0)
        >>> attack(own, messages, weights, byzantine, None).tolist()  # 1 - 0.25 (3 - 1) / 0.25
        [-1.0]

    Source: He, Karimireddy and Jaggi 2022, arXiv 2202.01545.
    """
    checks.finite(epsilon=epsilon)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        weights = (weights > 0).astype(weights.dtype) if uniform else weights
        good, bad = jnp.where(byzantine, 0, weights), jnp.where(byzantine, weights, 0).sum()
        # A receiver without byzantine neighbors has bad = 0; the inner `where` avoids 0 / 0.
        push = jnp.where(bad > 0, epsilon / jnp.where(bad > 0, bad, 1), 0)

        def message(x: Array, messages: Array) -> Array:
            return x - push.astype(x.dtype) * weighted_sum(good, messages, x)

        return jax.tree.map(message, own, messages)

    return attack


def alie(z: Any = None, *, n: int | None = None, byzantine: int | None = None) -> Attack:
    """Builds the ALIE attack: a message within the spread of the honest values, ``mean - z std``.

    The mean and the (unbiased) standard deviation are over the values of the receiver and its
    honest neighbors, in every coordinate.

    Args:
        z: number of standard deviations; may be traced. None for :func:`alie_z` of n and byzantine.
        n: number of clients.
        byzantine: number of byzantine clients.

    Raises:
        ValueError: unless either z or both n and byzantine are given.

    Example:
        >>> own, messages = jnp.array([1.0]), jnp.array([[3.0], [5.0]])
        >>> weights, byzantine = jnp.array([0.25, 0.25]), jnp.array([False, True])
        >>> attack = jax.jit(jc.channels.attacks.alie(z=1.0))
        >>> sent = attack(own, messages, weights, byzantine, None)
        >>> round(float(sent[0]), 2)  # 2 - sqrt(2)
        0.59

    Source: Baruch et al. 2019, arXiv 1902.06156.
    """
    if z is None and n is not None and byzantine is not None:
        z = alie_z(n, byzantine)
    elif z is None or n is not None or byzantine is not None:
        raise ValueError(
            f"z, or both n and byzantine, must be given, got z={z}, n={n}, byzantine={byzantine}"
        )
    checks.finite(z=z)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        good = ~byzantine & (weights > 0)

        def message(x: Array, messages: Array) -> Array:
            mean = _honest_mean(x, messages, good)
            squares = jnp.square(x - mean) + weighted_sum(good, jnp.square(messages - mean[None]))
            # the receiver is one more honest value, so this is their number less one
            spread = squares / jnp.maximum(good.sum(), 1).astype(x.dtype)
            return mean - z * jnp.sqrt(spread)

        return jax.tree.map(message, own, messages)

    return attack


def alie_z(n: int, byzantine: int) -> float:
    """Computes the largest z for which ALIE has a majority: ``Phi^-1((n - m - s) / (n - m))``.

    ``s = floor(n/2 + 1) - m`` is the number of honest clients that the attackers need.

    Args:
        n: number of clients.
        byzantine: m, number of byzantine clients, 0 <= m < n / 2.

    Raises:
        ValueError: if m is out of range.

    Example:
        >>> round(jc.channels.attacks.alie_z(20, 4), 4)
        0.1573
    """
    from scipy.special import ndtri  # slow to import

    checks.count("n", n)
    checks.count("byzantine", byzantine, 0, (n - 1) // 2)
    supporters = math.floor(n / 2 + 1) - byzantine
    return float(ndtri((n - byzantine - supporters) / (n - byzantine)))


def inner_product_manipulation(epsilon: Any = 0.1) -> Attack:
    """Builds the IPM attack: ``-epsilon`` times the mean of the honest values.

    The mean is over the values of the receiver and its honest neighbors.

    Args:
        epsilon: factor; may be traced.

    Raises:
        ValueError: if epsilon is not a finite number.

    Example:
        >>> own, messages = jnp.array([1.0]), jnp.array([[3.0], [5.0]])
        >>> weights, byzantine = jnp.array([0.25, 0.25]), jnp.array([False, True])
        >>> attack = jc.channels.attacks.inner_product_manipulation(0.5)
        >>> attack(own, messages, weights, byzantine, None).tolist()  # -0.5 (1 + 3) / 2
        [-1.0]

    Source: Xie et al. 2019, arXiv 1903.03936.
    """
    checks.finite(epsilon=epsilon)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        good = ~byzantine & (weights > 0)
        return jax.tree.map(lambda x, m: -epsilon * _honest_mean(x, m, good), own, messages)

    return attack


def bit_flip() -> Attack:
    """Builds an attack in which attackers send their values with the opposite sign: ``-x_k``.

    Example:
        >>> own, messages = jnp.array([1.0]), jnp.array([[3.0], [5.0]])
        >>> weights, byzantine = jnp.array([0.25, 0.25]), jnp.array([False, True])
        >>> attack = jc.channels.attacks.bit_flip()
        >>> attack(own, messages, weights, byzantine, None).tolist()
        [[-3.0], [-5.0]]
    """
    return lambda own, messages, weights, byzantine, context: jax.tree.map(jnp.negative, messages)


def gaussian(scale: Any) -> Attack:
    """Builds an attack in which attackers add noise to their values: ``x_k + N(0, scale^2)``.

    Args:
        scale: standard deviation, >= 0; may be traced.

    Raises:
        ValueError: if scale is negative or not a number.

    Example:
        >>> own, messages, slots = jnp.zeros(4000), jnp.zeros((1, 4000)), jnp.ones(1)
        >>> wire = jc.core.Wire(jax.random.key(0), *[None] * 6)  # the attack uses the key alone
        >>> attack = jax.jit(jc.channels.attacks.gaussian(2.0))
        >>> round(float(attack(own, messages, slots, slots > 0, wire).std()))
        2
    """
    checks.finite(at_least=0, scale=scale)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        leaves, structure = jax.tree.flatten(messages)
        # One key for each leaf, or leaves of one shape would get the same noise.
        keys = jax.random.split(context.key, len(leaves))
        noisy = [
            leaf + scale * jax.random.normal(k, leaf.shape, leaf.dtype)
            for leaf, k in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, noisy)

    return attack


def mimic(client: int | None = None) -> Attack:
    """Builds an attack in which all attackers repeat the value of one honest client.

    Every message is an honest value, but this client gets too much weight, which is harmful with
    heterogeneous data.

    Args:
        client: index of the client to repeat; None for the honest neighbor that is farthest from
            the mean of the values of the receiver and its honest neighbors.

    Raises:
        ValueError: if ``client`` is negative; when used, if it is not in 0..n-1.

    Example:
        >>> own, messages = jnp.array([1.0]), jnp.array([[3.0], [5.0]])
        >>> weights, byzantine = jnp.array([0.25, 0.25]), jnp.array([False, True])
        >>> attack = jc.channels.attacks.mimic()
        >>> attack(own, messages, weights, byzantine, None).tolist()  # the only honest neighbor
        [3.0]

    Source: Karimireddy, He and Jaggi 2020, arXiv 2006.09365.
    """
    if client is not None:
        checks.count("client", client, 0)

    def attack(
        own: PyTree, messages: PyTree, weights: Array, byzantine: Array, context: Wire
    ) -> PyTree:
        if client is not None:
            # The client need not be a neighbor, since attackers know the values of all clients.
            checks.count("client", client, 0, layout.num_clients(context.sent) - 1)
            return jax.tree.map(lambda leaf, x: leaf[client].astype(x.dtype), context.sent, own)
        good = ~byzantine & (weights > 0)
        mean = jax.tree.map(lambda x, m: _honest_mean(x, m, good), own, messages)
        far = squared_distances(mean, messages)
        # Without an honest neighbor all entries are -1 and slot 0 is repeated.
        chosen = jnp.argmax(jnp.where(good, far, -1))
        return jax.tree.map(lambda leaf: leaf[chosen], messages)

    return attack


def _honest_mean(x: Array, messages: Array, good: Array) -> Array:
    """Computes the mean of the receiver's value and the messages in the slots ``good``."""
    return (x + weighted_sum(good, messages)) / (1 + good.sum()).astype(x.dtype)
