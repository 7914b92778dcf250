"""What a client does with its gradients: optax transforms, and corrections of client drift."""

from jcollab.local.drift import (
    Drift,
    dynamic_regularization,
    gradient_alignment,
    none,
    normalized,
    scaffold,
)
from jcollab.local.transforms import control_variate, proximal

__all__ = [
    "Drift",
    "control_variate",
    "dynamic_regularization",
    "gradient_alignment",
    "none",
    "normalized",
    "proximal",
    "scaffold",
]
