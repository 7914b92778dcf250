"""Runs a preset of the D-BAT paper by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.dbat import images, kinds, theorem, toy2d, uncertainty

MODULES: dict[type, ModuleType] = {
    kinds.Images: images,
    kinds.Theorem: theorem,
    kinds.Toy2d: toy2d,
    kinds.Uncertainty: uncertainty,
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
