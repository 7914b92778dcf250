"""Experiments: one folder per paper; :mod:`experiments.contract` defines what a module contains."""
