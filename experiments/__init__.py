"""Experiments: one folder per paper, all under the contract of :mod:`experiments.contract`."""
