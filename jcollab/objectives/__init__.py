"""Objectives: losses of one client, in the form that every builder takes."""

from jcollab.objectives.augmentation import as_augment, in_turn
from jcollab.objectives.classification import classification
from jcollab.objectives.disagreement import (
    agreement,
    binary_agreement,
    disagreement_points,
    pair_agreement,
    sign_ascent,
)
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
    "agreement",
    "as_augment",
    "binary_agreement",
    "classification",
    "computed_in",
    "disagreement_points",
    "discrimination",
    "distillation",
    "federated_distillation",
    "in_turn",
    "independent",
    "match_logs",
    "pair_agreement",
    "representation_sharing",
    "sign_ascent",
]
