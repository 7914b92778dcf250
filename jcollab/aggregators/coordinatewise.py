"""Rules that combine each coordinate separately: median and trimmed mean."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.aggregators.common import column, rule
from jcollab.aggregators.sorting import by_blocks, order_statistics
from jcollab.core import Array, PyTree, Receiver, Rule


def coordinate_median() -> Rule:
    """Builds the rule that computes the median of all inputs in every coordinate.

    All inputs, including the own value, have the same weight; a message of weight 0 is omitted. For
    an even number of inputs, the median is the mean of the middle two. NaN counts as infinite.

    Example:
        >>> rule, sent = jc.aggregators.coordinate_median(), jnp.array([[1.0, 5.0], [2.0, -3.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> aggregate(rule, jnp.zeros(2), sent).tolist()
        [1.0, 0.0]

    Source: Yin et al. 2018, arXiv 1803.01498.
    """

    def medians(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        absent = weights == 0
        # The number of absent messages is traced, but ranks must be static. Absent slots become
        # +inf and -inf in turn, so that the median of the present inputs stays in the middle of all
        # rows. If their number is odd, the extra +inf moves it half a rank down.
        number = jnp.cumsum(absent)
        fill = jnp.where(number % 2 == 1, jnp.inf, -jnp.inf)
        odd = number[-1] % 2 == 1
        if not context.own_counts:  # without any input, the median of -inf and inf would be NaN
            fill = jnp.where(absent.all(), 0.0, fill)

        def median(rows: Sequence[Array]) -> Array:
            middle = (len(rows) - 1) // 2
            if len(rows) % 2:
                low, high = order_statistics(rows, [max(middle - 1, 0), middle])
                return jnp.where(odd, (low + high) / 2, high)
            low, high = order_statistics(rows, [middle, middle + 1])
            return jnp.where(odd, low, (low + high) / 2)

        return _by_coordinate(median, own, messages, absent, fill, context.own_counts)

    return rule(medians, name="coordinate_median")


def trimmed_mean(trim: int, *, shrink: bool = False) -> Rule:
    """Builds the rule that omits the b largest and b smallest inputs in every coordinate.

    The remaining inputs are averaged. All inputs, including the own value, have the same weight; a
    message of weight 0 is omitted. NaN counts as infinite. If lost messages leave fewer than
    2 b + 1 inputs, b is lowered until at least one input remains.

    Args:
        trim: b >= 0; every receiver needs at least 2 b + 1 inputs, including its own value.
        shrink: whether b is also lowered for neighborhoods that are too small from the start, as in
            the code of He et al. 2022, instead of an error.

    Raises:
        ValueError: if trim < 0; when used, if a neighborhood is too small.

    Example:
        >>> rule, sent = jc.aggregators.trimmed_mean(1), jnp.array([[1.0], [2.0], [100.0], [-50.0]])
        >>> aggregate = jax.jit(jc.aggregators.apply, static_argnums=0)
        >>> float(aggregate(rule, jnp.zeros(1), sent)[0])  # the mean of 0, 1 and 2
        1.0

    Source: Yin et al. 2018, arXiv 1803.01498; BRIDGE of Yang and Bajwa 2019.
    """
    checks.count("trim", trim, 0)

    def means(own: PyTree, messages: PyTree, weights: Array, context: Receiver) -> PyTree:
        absent = weights == 0
        count = int(context.own_counts) + jnp.sum(~absent)
        cut = jnp.minimum(trim, (count - 1) // 2)

        def mean(rows: Sequence[Array]) -> Array:
            # Absent rows are +inf and take the last ranks; `cut` is traced, so ranks are masked.
            ranked = order_statistics(rows, range(len(rows)))
            kept = [
                jnp.where((rank >= cut) & (rank < count - cut), row, 0)
                for rank, row in enumerate(ranked)
            ]
            return functools.reduce(jnp.add, kept) / (count - 2 * cut).astype(kept[0].dtype)

        fill = jnp.full(absent.shape, jnp.inf)
        return _by_coordinate(mean, own, messages, absent, fill, context.own_counts)

    least = 1 if shrink else 2 * trim + 1
    return rule(means, min_inputs=least, name=f"trimmed_mean({trim})")


def _by_coordinate(
    fn: Callable[[Sequence[Array]], Array],
    own: PyTree,
    messages: PyTree,
    absent: Array,
    fill: Array,
    own_counts: bool,
) -> PyTree:
    def each(x: Array, messages: Array) -> Array:
        rows = jnp.where(column(absent, messages) != 0, column(fill, messages), messages)
        if own_counts:
            rows = jnp.concatenate([x[None].astype(rows.dtype), rows])
        # Minimum and maximum return NaN if either input is NaN, which would spread through the
        # network.
        rows = jnp.where(jnp.isnan(rows), jnp.inf, rows)
        return by_blocks(fn, rows.reshape(len(rows), -1)).reshape(x.shape)

    return jax.tree.map(each, own, messages)
