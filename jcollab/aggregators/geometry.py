"""Rules based on distances between inputs: Krum and the geometric median."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import combine, rule
from jcollab.core import Array, PyTree, Receiver, Rule

BLOCK = 1 << 13  # coordinates at a time, so that differences to x are never stored in full


def krum(byzantine: int, *, power: int = 2) -> Rule:
    """Builds the rule that selects the input with the lowest score.

    It is :func:`multi_krum` with ``chosen=1``; arguments are explained there.

    Example:
        >>> rule, sent = jc.aggregators.krum(1), jnp.array([[1.0], [2.0], [2.5], [100.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> aggregate(rule, jnp.zeros(1), sent).tolist()
        [2.0]
    """
    return multi_krum(byzantine, 1, power=power)


def multi_krum(byzantine: int, chosen: int, *, power: int = 2) -> Rule:
    """Builds the rule that averages the m inputs with the lowest scores.

        score_k = sum of ||x_k - x_l||^power over the (inputs - f - 2) other inputs closest to x_k

    All inputs, including the own value, have the same weight; a message of weight 0 is omitted.

    Args:
        byzantine: f >= 0; at least 2 f + 3 inputs are required.
        chosen: m >= 1.
        power: 2 as published. The code of He et al. 2022 squares once more, which is 4 (and returns
            the sum of the m inputs, not their mean).

    Raises:
        ValueError: if a number is out of range; when used, if a neighborhood is too small.

    Example:
        >>> rule, sent = jc.aggregators.multi_krum(1, 2), jnp.array([[1.0], [2.0], [2.5], [100.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> aggregate(rule, jnp.zeros(1), sent).tolist()  # the mean of 1 and 2
        [1.5]

    Source: Blanchard et al. 2017, arXiv 1703.02757.
    """
    checks.count("byzantine", byzantine, 0)
    checks.count("chosen", chosen)
    checks.count("power", power)

    def best_mean(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        gram, present = _gram(own, messages, weights, context.own_counts)
        norms = jnp.diagonal(gram)
        # ||x_k - x_l||^2 = G_kk + G_ll - 2 G_kl, which rounding can make slightly negative.
        squared = jnp.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0)
        others = present[:, None] & present[None, :] & ~jnp.eye(len(norms), dtype=bool)
        ranked = jnp.sort(jnp.where(others, squared, jnp.inf), axis=1) ** (power / 2)
        # Lost messages make the number of neighbors in a score a traced value: it becomes a mask.
        closest = jnp.maximum(present.sum() - byzantine - 2, 1)
        near = jnp.arange(len(norms)) < closest
        scores = jnp.where(present, jnp.sum(jnp.where(near, ranked, 0), axis=1), jnp.inf)
        best = jnp.zeros(len(norms), bool).at[jnp.argsort(scores)[:chosen]].set(True) & present
        share = best.astype(gram.dtype) / jnp.maximum(best.sum(), 1).astype(gram.dtype)
        return combine(share[0], own, messages, share[1:])

    least = max(2 * byzantine + 3, chosen)
    return rule(best_mean, min_inputs=least, name=f"multi_krum({byzantine}, {chosen})")


def geometric_median(iterations: int = 8, smoothing: float = 0.1) -> Rule:
    """Builds the RFA rule, which minimizes the sum of distances to the inputs.

    It takes T smoothed Weiszfeld steps from z = 0:

        z <- sum_k b_k x_k / sum_k b_k,    b_k = 1 / max(||z - x_k||, nu)

    All inputs, including the own value, have the same weight; a message of weight 0 is omitted.
    Steps are computed on the coefficients of the inputs, so messages are read only twice, whatever
    the number of steps.

    Args:
        iterations: T >= 1.
        smoothing: nu > 0.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> rule = jc.aggregators.geometric_median(iterations=32, smoothing=1e-3)
        >>> sent = jnp.array([[1.0], [1.0], [1.0], [100.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> round(float(aggregate(rule, jnp.array([2.0]), sent)[0]), 2)
        1.0

    Source: Pillutla et al. 2019, arXiv 1912.13445.
    """
    checks.count("iterations", iterations)
    checks.number("smoothing", smoothing, above=0)

    def median(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        # z is an affine combination of the inputs and the origin, at which steps start, so
        # distances to z follow from the inner products: ||z - x_k||^2 = c'Gc + G_kk - 2 (Gc)_k for
        # sum(c) = 1.
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
    """Computes inner products of all inputs minus the own value, and which inputs are present.

    Rows are the own value, the messages and, with ``origin``, the origin. A message that is not
    finite counts as absent.
    """
    # The difference of large and nearly equal norms would cancel. Relative to the own value, inner
    # products are as small as the distances among inputs that are close to it.
    slots = len(weights)

    def part(x: Array, messages: Array) -> Array:
        return _inner(x.reshape(-1), messages.reshape(slots, -1), origin)

    inner = jax.tree.reduce(jnp.add, jax.tree.map(part, own, messages))
    # The own value minus itself is 0, and so are its row and column.
    size = slots + 1 + origin
    gram = jnp.zeros((size, size), inner.dtype).at[1:, 1:].set(inner)
    present = jnp.ones(size, bool).at[0].set(own_counts).at[1 : slots + 1].set(weights > 0)
    present = present & jnp.isfinite(jnp.diagonal(gram))
    # NaN in one row would spread to every distance; the own value remains the point of reference
    # even if it is not an input.
    usable = present.at[0].set(True)
    gram = jnp.where(usable[:, None] & usable[None, :], gram, 0)
    return gram, present.at[-1].set(False) if origin else present


def _inner(x: Array, messages: Array, origin: bool) -> Array:
    """Computes inner products of the rows ``x_k - x`` (and ``-x``), by blocks of coordinates."""

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
        # The last block overlaps the one before; coordinates that were counted there are masked.
        fresh = jnp.arange(BLOCK) + start >= i * BLOCK
        own = jax.lax.dynamic_slice(x, (start,), (BLOCK,))
        part = jax.lax.dynamic_slice(messages, (0, start), (len(messages), BLOCK))
        return total + product(own, part, fresh)

    count = len(messages) + origin
    return jax.lax.fori_loop(0, -(-width // BLOCK), block, jnp.zeros((count, count), x.dtype))
