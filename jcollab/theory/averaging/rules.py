"""Plug-in rules, which estimate the weight of the others from data, and their risk.

The denominator of the best weight is ``E[(G - L)^2] = V_l + V_g + bias^2``. Its estimate is the
squared distance ``D^2`` between the two estimates. A vector has one weight for all coordinates:
D^2 and the variances are sums over coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jcollab import checks
from jcollab.theory.averaging.closed_form import optimal_weight
from jcollab.theory.averaging.common import Number, floats, library, ratio
from jcollab.theory.averaging.estimates import squared_distance

PyTree = Any
PlugIn = Callable[[Number, Number, Number], Number]

CHI_SQUARED_95 = 3.841458820694124  # with one degree of freedom
FARTHEST = 9.0  # standard deviations covered by the quadrature; the probability beyond is 2e-19
NODES = 200_001


def naive(squared_distance: Number, local_variance: Number, global_variance: Number) -> Number:
    """Computes ``a = V_l / (V_l + V_g + D^2)``.

    The weight is too small on average, since the expectation of D^2 already contains V_l + V_g.

    Args:
        squared_distance: D^2 >= 0.
        local_variance: V_l >= 0, known or estimated.
        global_variance: V_g >= 0, known or estimated.

    Returns:
        a in [0, 1]; 0 where all three are 0.

    Raises:
        ValueError: if an argument is negative or not finite.

    Example:
        >>> [float(jc.theory.averaging.naive(d2, 1.0, 1.0)) for d2 in (0.0, 2.0)]
        [0.5, 0.25]
    """
    square, v_l, v_g = checked(squared_distance, local_variance, global_variance)
    return ratio(v_l, v_l + v_g + square)


def positive_part(
    squared_distance: Number, local_variance: Number, global_variance: Number
) -> Number:
    """Computes ``a = V_l / max(V_l + V_g, D^2)``.

    This estimates bias^2 by ``max(0, D^2 - V_l - V_g)``. Arguments, result and errors are those of
    :func:`naive`.

    Example:
        >>> [float(jc.theory.averaging.positive_part(d2, 1.0, 1.0)) for d2 in (0.0, 4.0)]
        [0.5, 0.25]
    """
    square, v_l, v_g = checked(squared_distance, local_variance, global_variance)
    return ratio(v_l, library(square, v_l, v_g).maximum(v_l + v_g, square))


def clipped_ratio(
    squared_distance: Number, local_variance: Number, global_variance: Number
) -> Number:
    """Computes ``a = min(1, V_l / D^2)``, which does not depend on V_g.

    Arguments, result and errors are those of :func:`naive`.

    Example:
        >>> [float(jc.theory.averaging.clipped_ratio(d2, 1.0, 1.0)) for d2 in (0.5, 4.0)]
        [1.0, 0.25]
    """
    square, v_l, _ = checked(squared_distance, local_variance, global_variance)
    # as a ratio with a maximum, which is defined at D^2 = 0
    return ratio(v_l, library(square, v_l).maximum(v_l, square))


def pre_test(
    squared_distance: Number,
    local_variance: Number,
    global_variance: Number,
    *,
    threshold: Number = CHI_SQUARED_95,
) -> Number:
    """Computes the unbiased weight if a test detects no bias, and else 0.

        a = V_l / (V_l + V_g) if D^2 <= c (V_l + V_g), else 0

    Args:
        squared_distance: D^2 >= 0.
        local_variance: V_l >= 0.
        global_variance: V_g >= 0.
        threshold: c >= 0; by default 3.84, the 95 % quantile of chi^2 with one degree of freedom.

    Returns:
        a in [0, 1]; 0 where both variances are 0.

    Raises:
        ValueError: if an argument is negative or not finite.

    Example:
        >>> [float(jc.theory.averaging.pre_test(d2, 1.0, 1.0)) for d2 in (7.0, 8.0)]
        [0.5, 0.0]
    """
    checks.finite(arrays=True, at_least=0, threshold=threshold)
    square, v_l, v_g = checked(squared_distance, local_variance, global_variance)
    together = ratio(v_l, v_l + v_g)
    return library(square, v_l, v_g, threshold).where(
        square <= threshold * (v_l + v_g), together, 0.0
    )


RULES: dict[str, PlugIn] = {
    "naive": naive,
    "positive part": positive_part,
    "clipped ratio": clipped_ratio,
    "pre-test": pre_test,
}


def oracle(bias: Number) -> PlugIn:
    """Builds the rule of the best weight for a known bias, ``V_l / (V_l + V_g + b^2)``.

    Args:
        bias: b, of the others' estimate; for a mixer, the norm ``||b||`` of all clients or ``[n]``.

    Returns:
        A plug-in rule that ignores D^2.

    Raises:
        ValueError: if b is not finite.

    Example:
        >>> rule = jc.theory.averaging.oracle(bias=1.0)
        >>> float(rule(5.0, 1.0, 2.0))  # 1 / (1 + 2 + 1)
        0.25
    """
    checks.finite(arrays=True, bias=bias)

    def known(square: Number, local_variance: Number, global_variance: Number) -> Number:
        return optimal_weight(local_variance, global_variance, bias)

    return known


def shared_weight(rule: PlugIn) -> PlugIn:
    """Builds a rule with one weight for all clients, computed from means over clients.

    For n clients of a population, one distance is a poor estimate of ``E[(G - L)^2]`` and the mean
    of n distances is a good one. ``shared_weight(clipped_ratio)`` is a James-Stein shrinkage and
    close to :func:`jcollab.theory.averaging.population_weight`. The rule is made for
    :func:`jcollab.personal_average`.

    Args:
        rule: any plug-in rule.

    Returns:
        A rule of arrays with a leading client axis ``[n]``.

    Raises:
        TypeError: if ``rule`` is not a function.

    Example:
        >>> rule = jc.theory.averaging.shared_weight(jc.theory.averaging.naive)
        >>> rule(np.array([1.0, 3.0]), 1.0, 1.0).tolist()  # 1 / (1 + 1 + 2)
        [0.25, 0.25]
    """
    checks.functions(rule=rule)

    def shared(square: Number, local_variance: Number, global_variance: Number) -> Number:
        xp, *values = floats(square, local_variance, global_variance)
        means = [value.mean(0) if value.ndim else value for value in values]
        return xp.broadcast_to(rule(*means), values[0].shape)

    return shared


def shared_bias(
    squared_distance: Number, local_variance: Number, global_variance: Number
) -> Number:
    """Computes a weight for each client from one bias for all, estimated by a mean over clients.

        a_i = V_i / (V_i + V_gi + b^2),    b^2 = max(0, mean_j (D_j^2 - V_j - V_gj))

    For clients of a population this is an empirical Bayes estimate: unlike with
    :func:`shared_weight`, a client with fewer samples takes more of the others. The rule is made
    for :func:`jcollab.personal_average`.

    Args:
        squared_distance: D^2 >= 0, ``[n]``.
        local_variance: V >= 0, for all or ``[n]``.
        global_variance: V_g >= 0, for all or ``[n]``.

    Returns:
        a in [0, 1], ``[n]``.

    Raises:
        ValueError: if an argument is negative or not finite.

    Example:
        >>> squares, variances = np.array([3.0, 7.0]), np.array([1.0, 3.0])  # b^2 = 5 - 2 - 0
        >>> jc.theory.averaging.shared_bias(squares, variances, 0.0).tolist()
        [0.25, 0.5]
    """
    square, v_l, v_g = checked(squared_distance, local_variance, global_variance)
    xp = library(square, v_l, v_g)
    square_bias = xp.maximum((square - v_l - v_g).mean(0), 0.0)
    return ratio(v_l, v_l + v_g + square_bias)


def plug_in_weight(
    rule: PlugIn, local: PyTree, others: PyTree, local_variance: Number, global_variance: Number
) -> Number:
    """Computes the weight of the others' estimate according to a rule.

    Args:
        rule: ``rule(squared_distance, local_variance, global_variance) -> a``.
        local: L, the client's own estimate, a number or a pytree with leaves ``[...]``.
        others: G, of the same structure, without the client's own samples.
        local_variance: V_l, summed over coordinates.
        global_variance: V_g, summed over coordinates.

    Returns:
        a, one number for all coordinates.

    Raises:
        TypeError: if ``rule`` is not a function.
        ValueError: if a variance is negative or not finite.

    Example:
        >>> averaging = jc.theory.averaging
        >>> float(averaging.plug_in_weight(averaging.positive_part, 1.0, 3.0, 1.0, 0.5))  # 1 / 2^2
        0.25
    """
    checks.functions(rule=rule)
    checks.finite(
        arrays=True, at_least=0, local_variance=local_variance, global_variance=global_variance
    )
    return rule(squared_distance(local, others), local_variance, global_variance)


def plug_in_risk(
    rule: PlugIn,
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    *,
    num_nodes: int = NODES,
) -> Number:
    """Computes the mean squared error of an average with a plug-in weight.

    Estimates are Gaussian with known variances. With S = V_l + V_g and D ~ N(bias, S), the risk is

        V_l V_g / S + E[ ( a(D^2) D - (V_l / S) (D - bias) )^2 ]

    where the first term is the variance of the part of L that is independent of D. The expectation
    is computed with the trapezoidal rule over 9 standard deviations to either side. The error is
    about 1e-15 for smooth rules, 1e-9 for continuous rules, and 1e-4 of V_l for rules with jumps.

    Args:
        rule: as for :func:`plug_in_weight`; it is called with arrays ``[..., num_nodes]``.
        local_variance: V_l >= 0.
        global_variance: V_g >= 0.
        bias: of the others' estimate.
        num_nodes: of the quadrature, at least 2.

    Returns:
        The risk, of the arguments' common shape. It may exceed V_l, the risk of learning alone.

    Raises:
        TypeError: if ``rule`` is not a function.
        ValueError: if a variance is negative, an argument is not finite, or ``num_nodes`` < 2.

    Example:
        >>> half = lambda square, local_variance, global_variance: 0.5
        >>> round(float(jc.theory.averaging.plug_in_risk(half, 1.0, 1.0, bias=1.0)), 4)
        0.75
    """
    checks.functions(rule=rule)
    checks.finite(
        arrays=True, at_least=0, local_variance=local_variance, global_variance=global_variance
    )
    checks.finite(arrays=True, bias=bias)
    checks.count("num_nodes", num_nodes, 2)
    xp, v_l, v_g, b = floats(local_variance, global_variance, bias)
    v_l, v_g, b = (leaf[..., None] for leaf in xp.broadcast_arrays(v_l, v_g, b))
    total = v_l + v_g
    z = xp.linspace(-FARTHEST, FARTHEST, num_nodes)
    # the inner where keeps the derivative finite: that of the square root at 0 is infinite
    root = xp.where(total > 0, xp.sqrt(xp.where(total > 0, total, 1.0)), 0.0)
    difference = b + root * z
    weight = rule(difference**2, v_l, v_g)
    error = weight * difference - ratio(v_l, total) * (difference - b)
    # analytic functions that vanish at both ends are integrated to full precision by this rule
    density = xp.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return ratio(v_l * v_g, total)[..., 0] + xp.trapezoid(density * error**2, z, axis=-1)


def checked(square: Number, v_l: Number, v_g: Number) -> Any:
    """Checks the arguments of a rule and returns them as arrays of one library."""
    checks.finite(
        arrays=True, at_least=0, squared_distance=square, local_variance=v_l, global_variance=v_g
    )
    values: list[jax.Array] = list(floats(square, v_l, v_g)[1:])
    return values
