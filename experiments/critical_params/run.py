"""Runs a preset on critical parameters by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.critical_params import (
    batch,
    delay,
    estimate,
    kinds,
    logistic,
    network,
    sparse,
    wall_clock,
)

MODULES: dict[type, ModuleType] = {
    kinds.Batch: batch,
    kinds.Delay: delay,
    kinds.Estimate: estimate,
    kinds.Logistic: logistic,
    kinds.Network: network,
    kinds.Sparse: sparse,
    kinds.WallClock: wall_clock,
}


def run(config: Any, context: Context) -> list[Row]:
    """Rows of results."""
    return MODULES[type(config)].run(config, context)


def claims(config: Any, rows: list[Row]) -> list[Claim]:
    """What the rows say to the claims."""
    return MODULES[type(config)].claims(config, rows)


def shown(config: Any, rows: list[Row]) -> list[Row]:
    """What is printed of the rows."""
    module = MODULES[type(config)]
    return module.shown(config, rows) if hasattr(module, "shown") else rows
