"""Objectives: losses of one client, in the form that every builder takes."""

from jcollab.objectives.classification import classification
from jcollab.objectives.precision import computed_in
from jcollab.objectives.representation import (
    discrimination,
    distillation,
    federated_distillation,
    independent,
    match_logs,
    representation_sharing,
)

__all__ = [
    "classification",
    "computed_in",
    "discrimination",
    "distillation",
    "federated_distillation",
    "independent",
    "match_logs",
    "representation_sharing",
]
