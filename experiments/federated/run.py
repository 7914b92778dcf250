"""Runs a preset of the federated comparisons by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.contract import Claim, Context, Row
from experiments.federated import comparison, kinds, population

MODULES: dict[type, ModuleType] = {kinds.Comparison: comparison, kinds.Population: population}


def run(config: Any, context: Context) -> list[Row]:
    """Rows of results."""
    return MODULES[type(config)].run(config, context)


def claims(config: Any, rows: list[Row]) -> list[Claim]:
    """What the rows say to the papers' claims."""
    return MODULES[type(config)].claims(config, rows)
