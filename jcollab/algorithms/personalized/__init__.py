"""Personalized learning: builders that train a separate model for every client."""

from jcollab.algorithms.personalized.apfl import apfl
from jcollab.algorithms.personalized.ditto import ditto
from jcollab.algorithms.personalized.fine_tuning import fine_tuning

__all__ = [
    "apfl",
    "ditto",
    "fine_tuning",
]
