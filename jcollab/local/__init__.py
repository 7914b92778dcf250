"""What a client does with its gradients: optax transforms, and corrections of client drift."""

from jcollab.local.delays import (
    coordinate_delays,
    critical_staleness,
    delay_updates,
    drop_stale,
    polynomial_staleness,
    random_delays,
    scale_by_delay,
)

__all__ = [
    "coordinate_delays",
    "critical_staleness",
    "delay_updates",
    "drop_stale",
    "polynomial_staleness",
    "random_delays",
    "scale_by_delay",
]
