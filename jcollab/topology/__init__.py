"""Who talks to whom. Clients are numbered 0..n-1; graphs are connected and undirected."""

from jcollab.topology.drawing import draw
from jcollab.topology.families import (
    binary_tree,
    chain,
    complete,
    cubic_tree,
    exponential,
    hypercube,
    ring,
    social_network,
    spanning_tree,
    star,
    torus,
)
from jcollab.topology.graph import Topology, as_topology, from_networkx, require_tree
from jcollab.topology.weights import (
    check_mixing_matrix,
    constant_weights,
    learning_rate_correction,
    mixing_eigenvalues,
    mixing_matrix,
    spectral_gap,
)

__all__ = [
    "Topology",
    "as_topology",
    "binary_tree",
    "chain",
    "check_mixing_matrix",
    "complete",
    "constant_weights",
    "cubic_tree",
    "draw",
    "exponential",
    "from_networkx",
    "hypercube",
    "learning_rate_correction",
    "mixing_eigenvalues",
    "mixing_matrix",
    "require_tree",
    "ring",
    "social_network",
    "spanning_tree",
    "spectral_gap",
    "star",
    "torus",
]
