"""Algorithms: builders that put parts together, one file each."""

from jcollab.algorithms.centralized import centralized
from jcollab.algorithms.decentralized import decentralized

__all__ = ["centralized", "decentralized"]
