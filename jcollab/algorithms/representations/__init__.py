"""Representation sharing: clients exchange class representations instead of models."""

from jcollab.algorithms.representations.groups import Group
from jcollab.algorithms.representations.representation_sharing import (
    bytes_exchanged,
    representation_sharing,
)

__all__ = [
    "Group",
    "bytes_exchanged",
    "representation_sharing",
]
