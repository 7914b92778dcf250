"""Which module runs a preset of the X2Static paper."""

from __future__ import annotations

from types import ModuleType

from experiments.x2static import ablations, comparison, federated, kinds

MODULES: dict[type, ModuleType] = {
    kinds.Comparison: comparison,
    kinds.Ablations: ablations,
    kinds.Federated: federated,
}
