"""Theory of averaging weights, noise scale, arrivals of workers, second moments and wall clock."""

import importlib
from typing import Any

from jcollab.theory import arrivals, averaging, noise_scale

# loaded at first use: these import scipy.optimize, which is slow
_LAZY = ("second_moments", "wall_clock")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"jcollab.theory.{name}")
    raise AttributeError(f"module 'jcollab.theory' has no attribute {name!r}")


__all__ = [
    "arrivals",
    "averaging",
    "noise_scale",
    "second_moments",
    "wall_clock",
]
