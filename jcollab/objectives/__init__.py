"""Objectives: losses of one client, in the form that all builders of algorithms take."""

from jcollab.objectives import prototypes
from jcollab.objectives.augmentation import Augment, in_turn, on_inputs
from jcollab.objectives.bilingual import (
    PairBatch,
    alignment,
    contrastive,
    crosslingual,
    similarity_structure,
)
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
from jcollab.objectives.word_vectors import (
    bag_loss,
    bag_rows,
    clipped_logistic,
    negative_sampling,
    x2static,
    x2static_loss,
    x2static_rows,
)

__all__ = [
    "Augment",
    "PairBatch",
    "agreement",
    "alignment",
    "bag_loss",
    "bag_rows",
    "binary_agreement",
    "classification",
    "clipped_logistic",
    "computed_in",
    "contrastive",
    "crosslingual",
    "disagreement_points",
    "discrimination",
    "distillation",
    "federated_distillation",
    "in_turn",
    "independent",
    "match_logs",
    "negative_sampling",
    "on_inputs",
    "pair_agreement",
    "prototypes",
    "representation_sharing",
    "sign_ascent",
    "similarity_structure",
    "x2static",
    "x2static_loss",
    "x2static_rows",
]
