"""Algorithms: builders that put parts together, one file each."""

from jcollab.algorithms.centralized import centralized
from jcollab.algorithms.cohort import Cohort, as_algorithm
from jcollab.algorithms.d2 import d2, exact_diffusion
from jcollab.algorithms.decentralized import decentralized
from jcollab.algorithms.federated import federated, federated_cohort
from jcollab.algorithms.grad_align import grad_align
from jcollab.algorithms.gradient_tracking import gradient_tracking
from jcollab.algorithms.quasi_global import quasi_global_momentum

__all__ = [
    "Cohort",
    "as_algorithm",
    "centralized",
    "d2",
    "decentralized",
    "exact_diffusion",
    "federated",
    "federated_cohort",
    "grad_align",
    "gradient_tracking",
    "quasi_global_momentum",
]
