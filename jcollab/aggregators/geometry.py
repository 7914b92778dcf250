"""Rules of the distances between all inputs: Krum and the geometric median."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import combine, rule
from jcollab.core import Array, PyTree, Receiver, Rule

BLOCK = 1 << 13  # coordinates at a time


def krum(byzantine: int, *, power: int = 2) -> Rule:
    """The input with the lowest score, which is :func:`multi_krum` with ``chosen=1``."""
    return multi_krum(byzantine, 1, power=power)


def multi_krum(byzantine: int, chosen: int, *, power: int = 2) -> Rule:
    """Mean of the m inputs with the lowest scores.

        score_k = sum of ||x_k - x_l||^power over the (inputs - f - 2) other inputs closest to x_k

    All inputs have the same weight; a message of weight 0 is left out.

    Args:
        byzantine: f >= 0; needs at least 2 f + 3 inputs, the own value included.
        chosen: m >= 1.
        power: 2 as published; the code of He et al. 2022 squares once more, which is 4 (and
            returns the sum of the m inputs, not their mean).

    Raises:
        ValueError: if a number is out of range; when it is used, if a neighborhood is too small.

    Source: Blanchard et al. 2017, arXiv 1703.02757.
    """
    checks.count("byzantine", byzantine, 0)
    checks.count("chosen", chosen)
    checks.count("power", power)

    def best_mean(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        gram, present = _gram(own, messages, weights, context.own_counts)
        norms = jnp.diagonal(gram)
        squared = jnp.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0)
        others = present[:, None] & present[None, :] & ~jnp.eye(len(norms), dtype=bool)
        ranked = jnp.sort(jnp.where(others, squared, jnp.inf), axis=1) ** (power / 2)
        closest = jnp.maximum(present.sum() - byzantine - 2, 1)
        near = jnp.arange(len(norms)) < closest
        scores = jnp.where(present, jnp.sum(jnp.where(near, ranked, 0), axis=1), jnp.inf)
        best = jnp.zeros(len(norms), bool).at[jnp.argsort(scores)[:chosen]].set(True) & present
        share = best.astype(gram.dtype) / jnp.maximum(best.sum(), 1).astype(gram.dtype)
        return combine(share[0], own, messages, share[1:])

    least = max(2 * byzantine + 3, chosen)
    return rule(best_mean, min_inputs=least, name=f"multi_krum({byzantine}, {chosen})")


def geometric_median(iterations: int = 8, smoothing: float = 0.1) -> Rule:
    """The point with the least sum of distances to the inputs, by smoothed Weiszfeld steps (RFA).

        z <- sum_k b_k x_k / sum_k b_k,    b_k = 1 / max(||z - x_k||, nu),    from z = 0

    All inputs have the same weight; a message of weight 0 is left out. Steps are taken in the space
    of coefficients, so messages are read twice, whatever the number of steps.

    Args:
        iterations: T >= 1.
        smoothing: nu > 0.

    Raises:
        ValueError: if a number is out of range.

    Source: Pillutla et al. 2019, arXiv 1912.13445.
    """
    checks.count("iterations", iterations)
    checks.number("smoothing", smoothing, above=0)

    def median(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        # one row more: the origin, at which the steps start
        gram, present = _gram(own, messages, weights, context.own_counts, origin=True)
        norms = jnp.diagonal(gram)

        def step(coefficients: Array, _: None) -> tuple[Array, None]:
            inner = gram @ coefficients
            squared = coefficients @ inner + norms - 2 * inner
            pull = 1 / jnp.maximum(jnp.sqrt(jnp.maximum(squared, 0)), smoothing)
            pull = jnp.where(present, pull, 0)
            total = pull.sum()
            return pull / jnp.where(total > 0, total, 1), None

        start = jnp.zeros(len(norms), gram.dtype).at[-1].set(1)
        coefficients, _ = jax.lax.scan(step, start, None, length=iterations)
        return combine(coefficients[0], own, messages, coefficients[1:-1])

    return rule(median, name="geometric_median")


def _gram(
    own: PyTree, messages: PyTree, weights: Array, own_counts: bool, origin: bool = False
) -> tuple[Array, Array]:
    """Inner products of all inputs relative to the own value, and which of them are present.

    Rows are the own value, the messages and, with ``origin``, the origin. Distances between inputs
    that lie close together are precise where they lie close to the own value as well. A message
    that is not finite counts as absent.
    """
    slots = len(weights)

    def part(x: Array, messages: Array) -> Array:
        return _inner(x.reshape(-1), messages.reshape(slots, -1), origin)

    inner = jax.tree.reduce(jnp.add, jax.tree.map(part, own, messages))
    size = slots + 1 + origin
    gram = jnp.zeros((size, size), inner.dtype).at[1:, 1:].set(inner)
    present = jnp.ones(size, bool).at[0].set(own_counts).at[1 : slots + 1].set(weights > 0)
    present = present & jnp.isfinite(jnp.diagonal(gram))
    usable = present.at[0].set(True)
    gram = jnp.where(usable[:, None] & usable[None, :], gram, 0)
    return gram, present.at[-1].set(False) if origin else present


def _inner(x: Array, messages: Array, origin: bool) -> Array:
    """Inner products of the rows ``x_k - x`` (and ``-x``), a block of coordinates at a time."""

    def product(x: Array, messages: Array, counted: Any = True) -> Array:
        rows = messages - x[None]
        if origin:
            rows = jnp.concatenate([rows, -x[None]])
        rows = jnp.where(counted, rows, 0)
        return jnp.matmul(rows, rows.T, precision="highest")

    width = len(x)
    if width <= BLOCK:
        return product(x, messages)

    def block(i: Array, total: Array) -> Array:
        start = jnp.minimum(i * BLOCK, width - BLOCK)
        # the last block overlaps the one before, whose coordinates are left out
        fresh = jnp.arange(BLOCK) + start >= i * BLOCK
        own = jax.lax.dynamic_slice(x, (start,), (BLOCK,))
        part = jax.lax.dynamic_slice(messages, (0, start), (len(messages), BLOCK))
        return total + product(own, part, fresh)

    count = len(messages) + origin
    return jax.lax.fori_loop(0, -(-width // BLOCK), block, jnp.zeros((count, count), x.dtype))
