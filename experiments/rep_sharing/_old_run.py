"""Which module runs a preset of representation sharing."""

from __future__ import annotations

from types import ModuleType

from experiments.rep_sharing import comparison, kinds, lambda_map, variants

MODULES: dict[type, ModuleType] = {
    kinds.Comparison: comparison,
    kinds.Variants: variants,
    kinds.LambdaMap: lambda_map,
}
