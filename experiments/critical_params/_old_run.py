"""Which module runs a preset on critical parameters."""

from __future__ import annotations

from types import ModuleType

from experiments.critical_params import (
    batch,
    delay,
    estimate,
    kinds,
    logistic,
    network,
    sparse,
    wall_clock,
)

MODULES: dict[type, ModuleType] = {
    kinds.Batch: batch,
    kinds.Delay: delay,
    kinds.Estimate: estimate,
    kinds.Logistic: logistic,
    kinds.Network: network,
    kinds.Sparse: sparse,
    kinds.WallClock: wall_clock,
}
