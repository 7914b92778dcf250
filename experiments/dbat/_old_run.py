"""Which module runs a preset of the D-BAT paper."""

from __future__ import annotations

from types import ModuleType

from experiments.dbat import collaborative, images, kinds, theorem, toy2d, uncertainty

MODULES: dict[type, ModuleType] = {
    kinds.Images: images,
    kinds.Collaborative: collaborative,
    kinds.Theorem: theorem,
    kinds.Toy2d: toy2d,
    kinds.Uncertainty: uncertainty,
}
