"""Which module runs a preset of the RelaySGD paper."""

from __future__ import annotations

import warnings
from types import ModuleType

from experiments.relaysgd import (
    cifar10,
    heterogeneity,
    kinds,
    mean_estimation,
    scaling,
    social_network,
    tuned_quadratics,
    unreliable,
)

# the paper's D2 on a ring lies exactly at the limit that is warned of
warnings.filterwarnings("ignore", "D2 needs")

MODULES: dict[type, ModuleType] = {
    kinds.Cifar10: cifar10,
    kinds.Heterogeneity: heterogeneity,
    kinds.MeanEstimation: mean_estimation,
    kinds.Scaling: scaling,
    kinds.SocialNetwork: social_network,
    kinds.TunedQuadratics: tuned_quadratics,
    kinds.Unreliable: unreliable,
}
