"""Objectives: losses of one client, in the form that every builder takes."""

from jcollab.objectives.classification import classification
from jcollab.objectives.precision import computed_in

__all__ = ["classification", "computed_in"]
