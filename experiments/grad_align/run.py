"""Runs a preset of the gradient alignment paper by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.grad_align import (
    clusters,
    distributed,
    emnist_style,
    kinds,
    local_steps,
    sgd_regulariser,
    taylor,
)

MODULES: dict[type, ModuleType] = {
    kinds.Clusters: clusters,
    kinds.Distributed: distributed,
    kinds.EmnistStyle: emnist_style,
    kinds.LocalSteps: local_steps,
    kinds.SgdRegulariser: sgd_regulariser,
    kinds.Taylor: taylor,
}


def run(config: Any, context: Context) -> list[Row]:
    """Rows of results."""
    return MODULES[type(config)].run(config, context)


def claims(config: Any, rows: list[Row]) -> list[Claim]:
    """What the rows say to the paper's claims."""
    return MODULES[type(config)].claims(config, rows)


def shown(config: Any, rows: list[Row]) -> list[Row]:
    """What is printed of the rows."""
    module = MODULES[type(config)]
    return module.shown(config, rows) if hasattr(module, "shown") else rows
