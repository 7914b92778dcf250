"""Algorithms: builders that put parts together, one file each."""

from jcollab.algorithms.asynchronous import asynchronous
from jcollab.algorithms.centralized import centralized
from jcollab.algorithms.d2 import d2, exact_diffusion
from jcollab.algorithms.decentralized import decentralized
from jcollab.algorithms.gradient_tracking import gradient_tracking
from jcollab.algorithms.quasi_global import quasi_global_momentum

__all__ = [
    "asynchronous",
    "centralized",
    "d2",
    "decentralized",
    "exact_diffusion",
    "gradient_tracking",
    "quasi_global_momentum",
]
