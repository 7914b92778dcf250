"""Ensembles: diverse members, their predictions and the uncertainty of these."""

from jcollab.algorithms.ensembles.dbat import collaborative_dbat, dbat
from jcollab.algorithms.ensembles.predictions import (
    accuracies,
    agreement_rate,
    dropout_logits,
    ensemble_probabilities,
    entropy,
    member_logits,
    mutual_information,
    ood_auroc,
    ood_score,
    probabilities,
)

__all__ = [
    "accuracies",
    "agreement_rate",
    "collaborative_dbat",
    "dbat",
    "dropout_logits",
    "ensemble_probabilities",
    "entropy",
    "member_logits",
    "mutual_information",
    "ood_auroc",
    "ood_score",
    "probabilities",
]
