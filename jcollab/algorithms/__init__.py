"""Algorithms: builders that put parts together, one file each."""

from jcollab.algorithms.apfl import apfl
from jcollab.algorithms.asynchronous import asynchronous
from jcollab.algorithms.centralized import centralized
from jcollab.algorithms.cohort import Cohort, as_algorithm
from jcollab.algorithms.d2 import d2, exact_diffusion
from jcollab.algorithms.dbat import collaborative_dbat, dbat
from jcollab.algorithms.decentralized import decentralized
from jcollab.algorithms.ditto import ditto
from jcollab.algorithms.federated import federated, federated_cohort
from jcollab.algorithms.fine_tuning import fine_tuning
from jcollab.algorithms.grad_align import grad_align
from jcollab.algorithms.gradient_tracking import gradient_tracking
from jcollab.algorithms.groups import Group
from jcollab.algorithms.quasi_global import quasi_global_momentum
from jcollab.algorithms.representation_sharing import bytes_exchanged, representation_sharing
from jcollab.algorithms.sparse import sparse_decentralized

__all__ = [
    "Cohort",
    "Group",
    "apfl",
    "as_algorithm",
    "asynchronous",
    "bytes_exchanged",
    "centralized",
    "collaborative_dbat",
    "d2",
    "dbat",
    "decentralized",
    "ditto",
    "exact_diffusion",
    "federated",
    "federated_cohort",
    "fine_tuning",
    "grad_align",
    "gradient_tracking",
    "quasi_global_momentum",
    "representation_sharing",
    "sparse_decentralized",
]
