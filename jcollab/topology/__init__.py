"""Communication graphs and mixing matrices.

Graphs are connected and undirected, and clients are numbered 0..n-1.
"""

from jcollab.topology.byzantine import (
    ByzantineTopology,
    attach_byzantine,
    byzantine_mask,
    byzantine_weight,
    choose_byzantine,
    delta_max,
    dumbbell,
    honest_matrix,
    malicious_ring,
    two_cliques,
)
from jcollab.topology.drawing import draw, layout_positions
from jcollab.topology.families import (
    binary_tree,
    chain,
    complete,
    cubic_tree,
    exponential,
    hypercube,
    random_regular,
    ring,
    small_world,
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
    with_weights,
)

__all__ = [
    "ByzantineTopology",
    "Topology",
    "as_topology",
    "attach_byzantine",
    "binary_tree",
    "byzantine_mask",
    "byzantine_weight",
    "chain",
    "check_mixing_matrix",
    "choose_byzantine",
    "complete",
    "constant_weights",
    "cubic_tree",
    "delta_max",
    "draw",
    "dumbbell",
    "exponential",
    "from_networkx",
    "honest_matrix",
    "hypercube",
    "layout_positions",
    "learning_rate_correction",
    "malicious_ring",
    "mixing_eigenvalues",
    "mixing_matrix",
    "random_regular",
    "require_tree",
    "ring",
    "small_world",
    "social_network",
    "spanning_tree",
    "spectral_gap",
    "star",
    "torus",
    "two_cliques",
    "with_weights",
]
