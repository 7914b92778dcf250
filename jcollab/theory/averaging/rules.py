"""Plug-in rules: the weight of the others as data suggest it, and what that costs.

The best weight's denominator ``E[(G - L)^2] = V_l + V_g + bias^2`` is observed, with noise, as the
squared distance ``D^2`` of the two estimates. Vectors are treated as a whole: D^2 sums over
coordinates, and so do variances.
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
FARTHEST = 9.0  # standard deviations that the quadrature covers, beyond which is 2e-19
NODES = 200_001


def naive(squared_distance: Number, local_variance: Number, global_variance: Number) -> Number:
    """``a = V_l / (V_l + V_g + D^2)``; D^2 contains V_l + V_g on average, so a is too small.

    Args:
        squared_distance: D^2 >= 0.
        local_variance: V_l >= 0, known or estimated.
        global_variance: V_g >= 0.

    Returns:
        a in [0, 1]; 0 where all three are 0.

    Raises:
        ValueError: for an argument that is negative or not finite.
    """
    square, v_l, v_g = _checked(squared_distance, local_variance, global_variance)
    return ratio(v_l, v_l + v_g + square)


def positive_part(
    squared_distance: Number, local_variance: Number, global_variance: Number
) -> Number:
    """``a = V_l / max(V_l + V_g, D^2)``: bias^2 is estimated by ``max(0, D^2 - V_l - V_g)``.

    Arguments, result and errors are those of :func:`naive`.

    Example:
        >>> [float(jc.theory.averaging.positive_part(d2, 1.0, 1.0)) for d2 in (0.0, 4.0)]
        [0.5, 0.25]
    """
    square, v_l, v_g = _checked(squared_distance, local_variance, global_variance)
    return ratio(v_l, library(square, v_l, v_g).maximum(v_l + v_g, square))


def clipped_ratio(
    squared_distance: Number, local_variance: Number, global_variance: Number
) -> Number:
    """``a = min(1, V_l / D^2)``, which does not use V_g.

    Arguments, result and errors are those of :func:`naive`.
    """
    square, v_l, _ = _checked(squared_distance, local_variance, global_variance)
    return ratio(v_l, library(square, v_l).maximum(v_l, square))


def pre_test(
    squared_distance: Number,
    local_variance: Number,
    global_variance: Number,
    *,
    threshold: Number = CHI_SQUARED_95,
) -> Number:
    """``a = V_l / (V_l + V_g)`` where no bias shows, ``D^2 <= c (V_l + V_g)``, and else 0.

    Args:
        squared_distance: D^2 >= 0.
        local_variance: V_l >= 0.
        global_variance: V_g >= 0.
        threshold: c >= 0; by default the 95 % quantile of one degree of freedom, 3.84.

    Returns:
        a in [0, 1]; 0 where both variances are 0.

    Raises:
        ValueError: for an argument that is negative or not finite.
    """
    checks.finite(arrays=True, at_least=0, threshold=threshold)
    square, v_l, v_g = _checked(squared_distance, local_variance, global_variance)
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
    """The best weight where the bias is known, ``V_l / (V_l + V_g + b^2)``, in the form of a rule.

    Args:
        bias: b, of the others' estimate; in a mixer the length ``||b||`` for all or ``[n]``.

    Raises:
        ValueError: if b is not finite.
    """
    checks.finite(arrays=True, bias=bias)

    def known(square: Number, local_variance: Number, global_variance: Number) -> Number:
        return optimal_weight(local_variance, global_variance, bias)

    return known


def shared_weight(rule: PlugIn) -> PlugIn:
    """One weight for all clients: the rule of the means over clients, in place of one each.

    With n clients of a population, one distance is a poor estimate of ``E[(G - L)^2]`` and the mean
    of n is a good one; ``shared_weight(clipped_ratio)`` shrinks as James and Stein do, and is close
    to :func:`jcollab.theory.averaging.population_weight`. For :func:`jcollab.personal_average`.

    Args:
        rule: any plug-in rule.

    Returns:
        A rule of arrays that lead with the client axis ``[n]``.

    Raises:
        TypeError: if ``rule`` is not a function.
    """
    checks.functions(rule=rule)

    def shared(square: Number, local_variance: Number, global_variance: Number) -> Number:
        xp, *values = floats(square, local_variance, global_variance)
        means = [value.mean(0) if value.ndim else value for value in values]
        return xp.broadcast_to(rule(*means), values[0].shape)

    return shared


def plug_in_weight(
    rule: PlugIn, local: PyTree, others: PyTree, local_variance: Number, global_variance: Number
) -> Number:
    """The weight that a rule gives the others' estimate, of a number or a whole pytree.

    Args:
        rule: ``rule(squared_distance, local_variance, global_variance) -> a``.
        local: L, the client's own estimate, a pytree with leaves ``[...]``.
        others: G, of the same structure, without the client's own samples.
        local_variance: V_l, summed over coordinates.
        global_variance: V_g, summed over coordinates.

    Returns:
        a.

    Raises:
        TypeError: if ``rule`` is not a function.
        ValueError: for a variance that is negative or not finite.

    Example:
        >>> float(plug_in_weight(positive_part, 1.0, 3.0, 1.0, 0.5))
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
    """Mean squared error of an average with a plug-in weight, Gaussian estimates, known variances.

    With S = V_l + V_g and D ~ N(bias, S), the part of L that is independent of D remains:

        V_l V_g / S + E[ ( a(D^2) D - (V_l / S) (D - bias) )^2 ]

    by the trapezoidal rule over 9 standard deviations to either side. Its error is about 1e-15 for
    smooth rules, 1e-9 for continuous ones, and 1e-4 of V_l for rules that jump.

    Args:
        rule: as for :func:`plug_in_weight`; it is called with arrays ``[..., num_nodes]``.
        local_variance: V_l >= 0.
        global_variance: V_g >= 0.
        bias: of the others' estimate.
        num_nodes: at least 2.

    Returns:
        The risk, of the arguments' common shape; it may exceed V_l, the risk of learning alone.

    Raises:
        TypeError: if ``rule`` is not a function.
        ValueError: for a variance that is negative or not finite, a bias that is not finite, or
            too few nodes.
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
    # the square root's derivative at 0 is infinite
    root = xp.where(total > 0, xp.sqrt(xp.where(total > 0, total, 1.0)), 0.0)
    difference = b + root * z
    weight = rule(difference**2, v_l, v_g)
    error = weight * difference - ratio(v_l, total) * (difference - b)
    density = xp.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return ratio(v_l * v_g, total)[..., 0] + xp.trapezoid(density * error**2, z, axis=-1)


def _checked(square: Number, v_l: Number, v_g: Number) -> Any:
    checks.finite(
        arrays=True, at_least=0, squared_distance=square, local_variance=v_l, global_variance=v_g
    )
    values: list[jax.Array] = list(floats(square, v_l, v_g)[1:])
    return values
