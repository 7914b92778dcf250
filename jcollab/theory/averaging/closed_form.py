"""The best average of two estimates with known moments, and its benefit."""

from __future__ import annotations

from typing import Any

import numpy as np

from jcollab import checks
from jcollab.theory.averaging.common import Number, floats, ratio

ROUNDING = 1 + 1e-9  # rounding may push covariances over the bound of Cauchy and Schwarz


def optimal_weight(
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    covariance: Number = 0.0,
    local_bias: Number = 0.0,
) -> Number:
    """Computes the weight of the others that minimizes :func:`risk`.

        a* = (V_l - c + b_l (b_l - b_g)) / (V_l + V_g - 2 c + (b_g - b_l)^2)

    For an unbiased local estimate that is independent of the others' (c = b_l = 0), a* is
    ``V_l / (V_l + V_g + b_g^2)``, which is in (0, 1] if V_l > 0: some averaging always helps. The
    denominator is ``E[(G - L)^2]``; if it is 0, both estimates are equal, and a* = 0.

    Args:
        local_variance: V_l >= 0, of the client's own estimate L.
        global_variance: V_g >= 0, of the others' estimate G.
        bias: b_g, the mean of G minus the client's target.
        covariance: c of L and G; 0 if G does not use the client's samples.
        local_bias: b_l, the mean of L minus the target.

    Returns:
        a*, which may lie outside [0, 1] if c or b_l is not 0.

    Raises:
        ValueError: if a variance is negative, an argument is not finite, or ``c^2 > V_l V_g``.

    Example:
        >>> float(jc.theory.averaging.optimal_weight(0.1, 0.0, 0.3).round(4))
        0.5263

    Source: Grimberg et al. 2021, arXiv 2110.12946, for their setting; derived here.
    """
    _check_moments(local_variance, global_variance, bias, covariance, local_bias)
    _, v_l, v_g, b_g, c, b_l = floats(local_variance, global_variance, bias, covariance, local_bias)
    return ratio(v_l - c + b_l * (b_l - b_g), v_l + v_g - 2 * c + (b_g - b_l) ** 2)


def risk(
    weight: Number,
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    covariance: Number = 0.0,
    local_bias: Number = 0.0,
) -> Number:
    """Computes the mean squared error of ``(1 - a) L + a G``, for any distributions.

        (1-a)^2 V_l + 2 a (1-a) c + a^2 V_g + ((1-a) b_l + a b_g)^2

    Args:
        weight: a, any number; 0 is the local estimate, 1 the others'.
        local_variance: V_l, as for :func:`optimal_weight`.
        global_variance: V_g.
        bias: b_g.
        covariance: c.
        local_bias: b_l.

    Raises:
        ValueError: as for :func:`optimal_weight`, or if the weight is not finite.

    Example:
        >>> round(float(jc.theory.averaging.risk(0.5, 0.1, 0.1, 0.0)), 4)  # means of equal variance
        0.05
    """
    checks.finite(arrays=True, weight=weight)
    _check_moments(local_variance, global_variance, bias, covariance, local_bias)
    _, a, v_l, v_g, b_g, c, b_l = floats(
        weight, local_variance, global_variance, bias, covariance, local_bias
    )
    own = 1 - a
    return own**2 * v_l + 2 * a * own * c + a**2 * v_g + (own * b_l + a * b_g) ** 2


def optimal_risk(
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    covariance: Number = 0.0,
    local_bias: Number = 0.0,
) -> Number:
    """Computes the smallest risk, ``risk(a*)``, which is ``(1 - a*) V_l`` if c = b_l = 0.

    Arguments and errors are those of :func:`optimal_weight`.

    Example:
        >>> float(jc.theory.averaging.optimal_risk(0.1, 0.1, 0.0))  # the mean of two estimates
        0.05
    """
    moments = (local_variance, global_variance, bias, covariance, local_bias)
    return risk(optimal_weight(*moments), *moments)


def benefit(
    weight: Number,
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    covariance: Number = 0.0,
    local_bias: Number = 0.0,
) -> Number:
    """Computes the benefit of averaging over learning alone, ``B(a) = risk(0) - risk(a)``.

        B(a) = a (2 a* - a) E[(G - L)^2] = r (2 - r) B(a*),    r = a / a*

    The benefit is positive between 0 and ``2 a*``, and negative outside. Arguments and errors are
    those of :func:`risk`.

    Example:
        >>> [float(jc.theory.averaging.benefit(a, 1.0, 1.0, 0.0)) for a in (0, 0.5, 1)]  # a* = 0.5
        [0.0, 0.5, 0.0]
    """
    checks.finite(arrays=True, weight=weight)
    _check_moments(local_variance, global_variance, bias, covariance, local_bias)
    _, a, v_l, v_g, b_g, c, b_l = floats(
        weight, local_variance, global_variance, bias, covariance, local_bias
    )
    # not computed as a difference of risks, which would lose most digits for small a
    gain = v_l - c + b_l * (b_l - b_g)
    return a * (2 * gain - a * (v_l + v_g - 2 * c + (b_g - b_l) ** 2))


def relative_benefit(relative_weight: Number) -> Number:
    """Computes the relative benefit ``B(a) / B(a*) = r (2 - r)``, a parabola in ``r = a / a*``.

    Args:
        relative_weight: r.

    Raises:
        ValueError: if r is not finite.

    Example:
        >>> [float(jc.theory.averaging.relative_benefit(r)) for r in (0, 0.5, 1, 2)]
        [0.0, 0.75, 1.0, 0.0]
    """
    checks.finite(arrays=True, relative_weight=relative_weight)
    _, r = floats(relative_weight)
    return r * (2 - r)


def break_even(
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    covariance: Number = 0.0,
    local_bias: Number = 0.0,
) -> Number:
    """Computes the weight ``2 a*`` at which the benefit is 0; larger weights are harmful.

    Arguments and errors are those of :func:`optimal_weight`.

    Example:
        >>> float(jc.theory.averaging.break_even(0.25, 0.5, 0.5))  # a* = 0.25
        0.5
    """
    return 2 * optimal_weight(local_variance, global_variance, bias, covariance, local_bias)


def inclusive_weight(weight: Number, own_share: Number) -> Number:
    """Converts a weight of the others' mean to the equivalent weight of the mean of ALL clients.

    If a global mean contains the client's own data with share w, it is ``w L + (1 - w) O``. Its
    weight ``a / (1 - w)``, which may exceed 1, results in the same average ``(1 - a) L + a O``.
    The smallest risk is therefore the same.

    Args:
        weight: a, of the others' mean O.
        own_share: w in [0, 1); ``n_l / (n_l + n_o)`` for a mean over samples.

    Raises:
        ValueError: if a is not finite, or w is outside [0, 1).

    Example:
        >>> float(jc.theory.averaging.inclusive_weight(0.5, own_share=0.2))
        0.625
    """
    checks.finite(arrays=True, weight=weight)
    checks.number("own_share", own_share, at_least=0, below=1, arrays=True)
    _, a, w = floats(weight, own_share)
    return a / (1 - w)


def exclusive_weight(weight: Number, own_share: Number) -> Number:
    """Converts a weight of the mean of ALL clients to the equivalent weight of the others' mean.

    The result is ``a (1 - w)``, the inverse of :func:`inclusive_weight`. Arguments and errors are
    those of :func:`inclusive_weight`.

    Example:
        >>> float(jc.theory.averaging.exclusive_weight(0.625, own_share=0.2))
        0.5
    """
    checks.finite(arrays=True, weight=weight)
    checks.number("own_share", own_share, at_least=0, below=1, arrays=True)
    _, a, w = floats(weight, own_share)
    return a * (1 - w)


def pooled_weight(num_local: Number, num_others: Number) -> Number:
    """Computes the weight of the others in the mean of all samples, as in FedAvg.

        a = n_o / (n_l + n_o)

    Args:
        num_local: n_l >= 1, the client's own samples.
        num_others: n_o >= 1, the samples of all others.

    Raises:
        ValueError: if a count is below 1.

    Example:
        >>> float(jc.theory.averaging.pooled_weight(10, 90))
        0.9
    """
    checks.finite(arrays=True, at_least=1, num_local=num_local, num_others=num_others)
    _, own, others = floats(num_local, num_others)
    return others / (own + others)


def _check_moments(
    local_variance: Any, global_variance: Any, bias: Any, covariance: Any, local_bias: Any
) -> None:
    checks.finite(
        arrays=True, at_least=0, local_variance=local_variance, global_variance=global_variance
    )
    checks.finite(arrays=True, bias=bias, covariance=covariance, local_bias=local_bias)
    # the common case returns early, so that it does not convert and compare arrays
    if isinstance(covariance, (int, float)) and covariance == 0:
        return
    values = (local_variance, global_variance, covariance)
    if checks.traced(*values):
        return
    v_l, v_g, c = (np.asarray(value, float) for value in values)
    if (c**2 > v_l * v_g * ROUNDING).any():
        raise ValueError(
            "covariance must be at most sqrt(local_variance * global_variance) in size, "
            f"got {covariance}"
        )
