"""The rule of James and Stein for vectors, which never loses to learning alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jcollab import checks
from jcollab.theory.averaging.common import Number, library, ratio
from jcollab.theory.averaging.rules import PlugIn, checked

# standard deviations of the Poisson distribution that are summed; the rest has less than 1e-15
FARTHEST = 10.0


def james_stein(dimension: int, *, positive: bool = False) -> PlugIn:
    """Builds the rule of James and Stein for vectors with d coordinates of equal variance.

        a = (1 - 2/d) V_l / D^2

    If L is Gaussian and d >= 3, the average ``L + a (G - L)`` has a smaller mean squared error than
    L for every bias of G, unlike with the rules for d = 1. G is a fixed point (V_g = 0) such as
    zero or an earlier value, or an independent Gaussian estimate with any V_g. The benefit is that
    of :func:`james_stein_benefit`.

    To shrink n >= 4 numbers toward their common mean, which has n - 1 deviations, use
    ``shared_weight(james_stein(n - 1))`` on the numbers and the means of the others; for n vectors
    of d coordinates the dimension is ``(n - 1) d``.

    Args:
        dimension: d >= 3.
        positive: whether the weight is at most ``V_l / (V_l + V_g)``, the best weight without a
            bias (the positive part: shrinkage toward a point never passes it). The error is then
            smaller still.

    Returns:
        A plug-in rule, see :func:`naive`; its weight is 0 where ``D^2 = 0``, and may exceed 1
        unless ``positive``.

    Raises:
        ValueError: if d < 3.

    Example:
        >>> averaging = jc.theory.averaging
        >>> x, zero = np.array([2.0, 1.0, 2.0, 1.0]), np.zeros(4)  # coordinates of variance 1
        >>> a = averaging.plug_in_weight(averaging.james_stein(4), x, zero, 4.0, 0.0)
        >>> float(a), (x + a * (zero - x)).round(2).tolist()  # (1 - 2/4) 4 / 10
        (0.2, [1.6, 0.8, 1.6, 0.8])
        >>> rule = averaging.shared_weight(averaging.james_stein(len(x) - 1))
        >>> others = averaging.others_mean(x)  # and toward the common mean, 1.5
        >>> a = rule((others - x) ** 2, 1.0, averaging.others_variance(np.ones(4)))
        >>> (x + a * (others - x)).round(2).tolist()  # 1.5 + (1 - (4 - 3) 1 / 1) 0.5, ...
        [1.5, 1.5, 1.5, 1.5]

    Source: James and Stein 1961; Efron and Morris 1975 (common mean); for V_g > 0 derived here.
    """
    checks.count("dimension", dimension, 3)
    part = 1 - 2 / dimension

    def shrink(square: Number, local_variance: Number, global_variance: Number) -> Number:
        square, v_l, v_g = checked(square, local_variance, global_variance)
        if positive:
            square = library(square, v_l, v_g).maximum(square, part * (v_l + v_g))
        return ratio(part * v_l, square)

    return shrink


def james_stein_benefit(
    dimension: int,
    local_variance: Number,
    global_variance: Number,
    bias: Number,
    *,
    positive: bool = False,
) -> Number:
    """Computes the benefit of :func:`james_stein` over learning alone, which is always positive.

    With the noncentral chi-square variable u of d degrees of freedom and noncentrality
    ``lambda = d bias^2 / (V_l + V_g)``, Stein's identity gives

        B = V_l^2 / (V_l + V_g) (d - 2)^2 / d E[1 / u]

    and the positive part, with c = d - 2 and w of d + 2 degrees of freedom, adds

        V_l^2 / (V_l + V_g) / d (E[u (1 - c/u)^2; u < c] - 2 lambda E[1 - c/w; w < c])

    Expectations are sums over a Poisson distribution, computed on the host in float64.

    Args:
        dimension: d >= 3.
        local_variance: V_l >= 0, summed over coordinates.
        global_variance: V_g >= 0, summed over coordinates.
        bias: norm of the bias of G, at least 0.
        positive: as for :func:`james_stein`.

    Returns:
        ``V_l - risk``, of the arguments' common shape; 0 if V_l is 0.

    Raises:
        ValueError: if d < 3, or a variance or the bias is negative or not finite.

    Example:
        >>> benefit = jc.theory.averaging.james_stein_benefit
        >>> 10.0 - float(benefit(10, 10.0, 0.0, bias=0.0))  # at the point itself: 2 of 10 remain
        2.0

    Source: James and Stein 1961; Baranchik 1964 (positive part); for V_g > 0 derived here.
    """
    checks.count("dimension", dimension, 3)
    known = {"local_variance": local_variance, "global_variance": global_variance, "bias": bias}
    checks.finite(arrays=True, at_least=0, **known)
    v_l, v_g, b = np.broadcast_arrays(*(np.asarray(value, float) for value in known.values()))
    total = v_l + v_g
    noncentrality = ratio(dimension * b**2, total)
    gain = np.array([_gain(dimension, value, positive) for value in noncentrality.flat])
    return ratio(v_l**2, total) / dimension * gain.reshape(total.shape)


def _gain(d: int, noncentrality: float, positive: bool) -> float:
    """Computes the benefit for a vector of d unit variances and a fixed point."""
    from scipy.special import gammainc  # slow to import

    c = d - 2

    def plain(m: np.ndarray) -> np.ndarray:
        return c**2 / (m - 2)

    def beyond(m: np.ndarray) -> np.ndarray:
        # E[u^s; u < c] of a central chi-square variable is an incomplete gamma function
        below = [gammainc(m / 2 + shift, c / 2) for shift in (-1, 0, 1)]
        own = m * below[2] - 2 * c * below[1] + c**2 * below[0] / (m - 2)
        return own + 2 * noncentrality * (c * below[1] / m - below[2])

    gain = _mixture(plain, d, noncentrality)
    return gain + _mixture(beyond, d, noncentrality) if positive else gain


def _mixture(fn: Callable[[np.ndarray], np.ndarray], d: int, noncentrality: float) -> float:
    """Computes ``E fn(d + 2 k)``, with k Poisson of mean ``noncentrality / 2``."""
    from scipy.special import gammaln, xlogy

    mean = noncentrality / 2
    width = FARTHEST * (np.sqrt(mean) + FARTHEST)
    k = np.arange(max(0, int(mean - width)), int(mean + width) + 1)
    weights = np.exp(xlogy(k, mean) - mean - gammaln(k + 1))
    return float((weights * fn(d + 2.0 * k)).sum())
