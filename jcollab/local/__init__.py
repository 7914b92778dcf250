"""Local training: optax transforms, schedules, and the federated methods of clients."""

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
from jcollab.local.methods import (
    ClientMethod,
    combine,
    fedavg,
    feddyn,
    fedga,
    fednova,
    fedprox,
    scaffold,
)
from jcollab.local.sharing import Sharing, sharing
from jcollab.local.transforms import by_round, control_variate, proximal

__all__ = [
    "ClientMethod",
    "Sharing",
    "by_round",
    "combine",
    "control_variate",
    "coordinate_delays",
    "critical_staleness",
    "delay_updates",
    "drop_stale",
    "fedavg",
    "feddyn",
    "fedga",
    "fednova",
    "fedprox",
    "polynomial_staleness",
    "proximal",
    "random_delays",
    "row_sparse",
    "scaffold",
    "scale_by_delay",
    "scale_by_raw_amsgrad",
    "schedules",
    "sharing",
]
