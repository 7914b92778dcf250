"""Runs a preset of the RelaySGD paper by the kind of its configuration."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
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

MODULES: dict[type, ModuleType] = {
    kinds.Cifar10: cifar10,
    kinds.Heterogeneity: heterogeneity,
    kinds.MeanEstimation: mean_estimation,
    kinds.Scaling: scaling,
    kinds.SocialNetwork: social_network,
    kinds.TunedQuadratics: tuned_quadratics,
    kinds.Unreliable: unreliable,
}


def run(config: Any, context: Context) -> list[Row]:
    """Rows of results."""
    with warnings.catch_warnings():
        # the paper's D2 on a ring lies exactly at the limit that is warned of
        warnings.filterwarnings("ignore", "D2 needs")
        return MODULES[type(config)].run(config, context)


def claims(config: Any, rows: list[Row]) -> list[Claim]:
    """What the rows say to the paper's claims."""
    return MODULES[type(config)].claims(config, rows)
