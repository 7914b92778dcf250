"""Runs a preset of the ClippedGossip paper by the kind of its configuration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from experiments.clipped_gossip import (
    attacks,
    consensus,
    dumbbell,
    kinds,
    malicious_ring,
    two_cliques,
)
from experiments.contract import Claim, Context, Row

MODULES: dict[type, ModuleType] = {
    kinds.Attacks: attacks,
    kinds.Consensus: consensus,
    kinds.Dumbbell: dumbbell,
    kinds.MaliciousRing: malicious_ring,
    kinds.TwoCliques: two_cliques,
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
