"""Objectives: losses of one client, in the form that every builder takes."""

from jcollab.objectives.classification import classification

__all__ = ["classification"]
