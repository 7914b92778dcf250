"""Learning with a server."""

from jcollab.algorithms.federated.asynchronous import asynchronous
from jcollab.algorithms.federated.cohort import Cohort, as_algorithm
from jcollab.algorithms.federated.federated import federated, federated_cohort
from jcollab.algorithms.federated.grad_align import grad_align

__all__ = [
    "Cohort",
    "as_algorithm",
    "asynchronous",
    "federated",
    "federated_cohort",
    "grad_align",
]
