"""Runs a preset of representation sharing by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.rep_sharing import comparison, kinds, lambda_map, variants

MODULES: dict[type, ModuleType] = {
    kinds.Comparison: comparison,
    kinds.Variants: variants,
    kinds.LambdaMap: lambda_map,
}


def run(config: Any, context: Context) -> list[Row]:
    """Rows of results."""
    return MODULES[type(config)].run(config, context)


def claims(config: Any, rows: list[Row]) -> list[Claim]:
    """What the rows say to the paper's claims."""
    return MODULES[type(config)].claims(config, rows)


def shown(config: Any, rows: list[Row]) -> list[Row]:
    """The rows of the printed table."""
    module = MODULES[type(config)]
    return module.shown(config, rows) if hasattr(module, "shown") else rows
