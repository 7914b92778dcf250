"""Exact second moments of mini-batch, delayed and local SGD.

They show the effects of noise, batch size and delay. The problem is ``f(x) = |x|^2 / 2`` with
gradients ``x + xi`` and ``E|xi|^2 = M |x|^2 + sigma^2``, or least squares with Gaussian features of
any spectrum. M is ``noise_ratio`` and sigma^2 is ``variance``; the mean of a batch of b has M/b and
sigma^2/b. The second moments follow linear recursions. All functions compute with NumPy in float64.
The problems themselves are in :mod:`jcollab.data.synthetic.regression`.

Source: Stich, Mohtashami and Jaggi 2021, arXiv 2103.02351, for the question up to which batch size
and delay training does not slow down; the recursions and closed forms are derived for this library.
"""

from jcollab.theory.second_moments.rates import (
    Tuned,
    fastest_learning_rate,
    mean_square_rate,
    stability_limit,
    tuned,
    tuned_additive,
    tuned_gaussian,
)
from jcollab.theory.second_moments.recursions import (
    delayed_moments,
    gaussian_moments,
    local_moments,
)

__all__ = [
    "Tuned",
    "delayed_moments",
    "fastest_learning_rate",
    "gaussian_moments",
    "local_moments",
    "mean_square_rate",
    "stability_limit",
    "tuned",
    "tuned_additive",
    "tuned_gaussian",
]
