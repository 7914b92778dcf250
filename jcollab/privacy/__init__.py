"""Differential privacy of the values that clients send."""

from jcollab.privacy.class_means import Release, epsilon, gaussian_mechanism

__all__ = [
    "Release",
    "epsilon",
    "gaussian_mechanism",
]
