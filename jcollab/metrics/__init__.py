"""Metrics of a state: accuracy of the models, distances between them, bytes sent."""

from jcollab.metrics.classification import accuracy, per_model
from jcollab.metrics.owners import by_client
from jcollab.metrics.states import (
    among,
    averaged_model,
    bytes_sent,
    consensus_distance,
    gradient_variance,
)

__all__ = [
    "accuracy",
    "among",
    "averaged_model",
    "by_client",
    "bytes_sent",
    "consensus_distance",
    "gradient_variance",
    "per_model",
]
