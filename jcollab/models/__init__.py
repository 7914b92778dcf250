"""Models in flax.linen."""

from jcollab.models.cnn import CNN
from jcollab.models.mlp import MLP

__all__ = ["CNN", "MLP"]
