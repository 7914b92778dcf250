"""Theory: averaging weights, noise scale, arrivals of workers, second moments, wall clock."""

import importlib
from typing import Any

from jcollab.theory import arrivals, averaging, noise_scale

# these import scipy.optimize, which is slow, and are loaded at first use
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
