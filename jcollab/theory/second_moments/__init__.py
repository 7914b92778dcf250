"""Exact second moments of mini-batch, delayed and local SGD: what noise, batch and delay do.

On ``f(x) = |x|^2 / 2`` with gradients ``x + xi``, ``E|xi|^2 = M |x|^2 + sigma^2`` (``noise_ratio``
M, ``variance`` sigma^2; a batch mean of b has M/b and sigma^2/b), second moments follow linear
recursions, and so do those of least squares with Gaussian features of any spectrum. Everything here
is NumPy in float64. The problems themselves are in :mod:`jcollab.data.synthetic.regression`.

Source: the questions are those of Stich, Mohtashami and Jaggi 2021, arXiv 2103.02351 (which batch
and which delay is free?), the recursions and closed forms are derived for this library.
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
