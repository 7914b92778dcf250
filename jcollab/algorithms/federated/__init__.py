"""Learning with a server that aggregates the updates of clients."""

from jcollab.algorithms.federated.asynchronous import asynchronous
from jcollab.algorithms.federated.federated import federated
from jcollab.algorithms.federated.grad_align import grad_align

__all__ = [
    "asynchronous",
    "federated",
    "grad_align",
]
