"""Which module runs a preset on optimal averaging."""

from __future__ import annotations

from types import ModuleType

from experiments.optimal_averaging import kinds, models, multi_node, parabola, plug_in, population

MODULES: dict[type, ModuleType] = {
    kinds.Parabola: parabola,
    kinds.PlugInRisk: plug_in,
    kinds.Population: population,
    kinds.MultiNode: multi_node,
    kinds.Models: models,
}
