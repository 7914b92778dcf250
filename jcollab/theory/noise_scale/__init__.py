"""The noise of gradients, and its consequences for batches, delays and learning rates.

For gradients ``grad f(x) + xi``, the ratio ``C(x) = E|xi|^2 / |grad f(x)|^2`` of noise to signal is
the batch size, and the delay, up to which more clients help. The mean of b gradients has the ratio
C / b, and a delay slows training down once it exceeds ``1 + C``. The estimators here take any loss
and any model.

Source: Stich, Mohtashami and Jaggi 2021, arXiv 2103.02351 (one critical parameter for batches and
delays); McCandlish et al. 2018, arXiv 1812.06162 (two batch sizes, curvature).
"""

from jcollab.theory.noise_scale.constants import Fit, fit
from jcollab.theory.noise_scale.curvature import curvature_weighted, smoothness
from jcollab.theory.noise_scale.estimates import (
    NoiseScale,
    from_batches,
    measured,
    per_sample,
    two_batches,
)
from jcollab.theory.noise_scale.suggestions import (
    critical,
    suggest_batch_size,
    suggest_learning_rate,
)

__all__ = [
    "Fit",
    "NoiseScale",
    "critical",
    "curvature_weighted",
    "fit",
    "from_batches",
    "measured",
    "per_sample",
    "smoothness",
    "suggest_batch_size",
    "suggest_learning_rate",
    "two_batches",
]
