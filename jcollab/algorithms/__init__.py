"""Algorithms: one builder per file, which combines parts into an algorithm."""

from jcollab.algorithms import ensembles
from jcollab.algorithms.centralized import centralized
from jcollab.algorithms.decentralized import (
    d2,
    decentralized,
    exact_diffusion,
    gradient_tracking,
    quasi_global_momentum,
    sparse_decentralized,
)
from jcollab.algorithms.ensembles import collaborative_dbat, dbat
from jcollab.algorithms.federated import (
    asynchronous,
    federated,
    grad_align,
)
from jcollab.algorithms.model_state import ModelState
from jcollab.algorithms.personalized import apfl, ditto, fine_tuning
from jcollab.algorithms.representations import Group, bytes_exchanged, representation_sharing

__all__ = [
    "Group",
    "ModelState",
    "apfl",
    "asynchronous",
    "bytes_exchanged",
    "centralized",
    "collaborative_dbat",
    "d2",
    "dbat",
    "decentralized",
    "ditto",
    "ensembles",
    "exact_diffusion",
    "federated",
    "fine_tuning",
    "grad_align",
    "gradient_tracking",
    "quasi_global_momentum",
    "representation_sharing",
    "sparse_decentralized",
]
