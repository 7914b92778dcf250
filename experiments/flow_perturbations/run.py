"""Which module runs a preset of the paper on latent perturbations."""

from __future__ import annotations

from types import ModuleType

from experiments.flow_perturbations import comparison, density, federated, kinds

MODULES: dict[type, ModuleType] = {
    kinds.Comparison: comparison,
    kinds.Density: density,
    kinds.Federated: federated,
}
