"""Diversity by disagreement: ensembles that do not share one shortcut."""
