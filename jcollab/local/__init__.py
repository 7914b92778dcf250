"""What a client does with its gradients: optax transforms, and corrections of client drift."""

from jcollab.local import row_sparse, schedules
from jcollab.local.amsgrad import scale_by_raw_amsgrad
from jcollab.local.delays import (
    coordinate_delays,
    critical_staleness,
    delay_updates,
    drop_stale,
    polynomial_staleness,
    random_delays,
    scale_by_delay,
)
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
    "coordinate_delays",
    "critical_staleness",
    "delay_updates",
    "drop_stale",
    "dynamic_regularization",
    "gradient_alignment",
    "none",
    "normalized",
    "polynomial_staleness",
    "proximal",
    "random_delays",
    "row_sparse",
    "scaffold",
    "scale_by_delay",
    "scale_by_raw_amsgrad",
    "schedules",
]
