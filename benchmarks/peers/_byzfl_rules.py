"""Rules of ByzFL, which computes with NumPy or PyTorch as its input is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

# its data sets are not used here; torchvision does not load beside a PyTorch of another build
sys.modules.setdefault("torchvision", mock.MagicMock())
import byzfl  # noqa: E402

RULES: dict[str, Callable[..., Any]] = {
    "median": lambda: byzfl.Median(),
    "trimmed_mean": lambda trim: byzfl.TrMean(f=trim),
    "krum": lambda byzantine: byzfl.Krum(f=byzantine),
    "geometric_median": lambda steps: byzfl.GeometricMedian(nu=0.1, T=steps),
    "centered_clip": lambda radius, steps: byzfl.CenteredClipping(L=steps, tau=radius),
}
