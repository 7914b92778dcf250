"""Federated methods.

Comparisons that belong to no single paper, and populations of a million clients.

Import: jc.federated, jc.local.scaffold
Preset: population
Notebooks: 03_many_clients
"""
