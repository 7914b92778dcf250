"""Learning without a server: clients take local steps and exchange models with neighbors."""

from jcollab.algorithms.decentralized.d2 import d2, exact_diffusion
from jcollab.algorithms.decentralized.decentralized import decentralized
from jcollab.algorithms.decentralized.gradient_tracking import gradient_tracking
from jcollab.algorithms.decentralized.quasi_global import quasi_global_momentum
from jcollab.algorithms.decentralized.sparse import sparse_decentralized

__all__ = [
    "d2",
    "decentralized",
    "exact_diffusion",
    "gradient_tracking",
    "quasi_global_momentum",
    "sparse_decentralized",
]
