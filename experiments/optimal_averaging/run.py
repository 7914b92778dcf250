"""Runs a preset on optimal averaging by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.optimal_averaging import kinds, models, multi_node, parabola, plug_in, population

MODULES: dict[type, ModuleType] = {
    kinds.Parabola: parabola,
    kinds.PlugInRisk: plug_in,
    kinds.Population: population,
    kinds.MultiNode: multi_node,
    kinds.Models: models,
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
