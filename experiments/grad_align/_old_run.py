"""Which module runs a preset of the gradient alignment paper."""

from __future__ import annotations

from types import ModuleType

from experiments.grad_align import (
    clusters,
    distributed,
    emnist_style,
    kinds,
    local_steps,
    sgd_regulariser,
    taylor,
)

MODULES: dict[type, ModuleType] = {
    kinds.Clusters: clusters,
    kinds.Distributed: distributed,
    kinds.EmnistStyle: emnist_style,
    kinds.LocalSteps: local_steps,
    kinds.SgdRegulariser: sgd_regulariser,
    kinds.Taylor: taylor,
}
