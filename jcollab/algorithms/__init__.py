"""Algorithms: builders that put parts together, one file each."""

from jcollab.algorithms.apfl import apfl
from jcollab.algorithms.centralized import centralized
from jcollab.algorithms.d2 import d2, exact_diffusion
from jcollab.algorithms.decentralized import decentralized
from jcollab.algorithms.ditto import ditto
from jcollab.algorithms.fine_tuning import fine_tuning
from jcollab.algorithms.gradient_tracking import gradient_tracking
from jcollab.algorithms.quasi_global import quasi_global_momentum

__all__ = [
    "apfl",
    "centralized",
    "d2",
    "decentralized",
    "ditto",
    "exact_diffusion",
    "fine_tuning",
    "gradient_tracking",
    "quasi_global_momentum",
]
