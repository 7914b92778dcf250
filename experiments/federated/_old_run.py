"""Which module runs a preset of the federated comparisons."""

from __future__ import annotations

from types import ModuleType

from experiments.federated import comparison, kinds, population

MODULES: dict[type, ModuleType] = {kinds.Comparison: comparison, kinds.Population: population}
