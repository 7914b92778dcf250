"""Which module runs a preset of the ClippedGossip paper."""

from __future__ import annotations

from types import ModuleType

from experiments.clipped_gossip import (
    attacks,
    consensus,
    dumbbell,
    kinds,
    malicious_ring,
    two_cliques,
)

MODULES: dict[type, ModuleType] = {
    kinds.Attacks: attacks,
    kinds.Consensus: consensus,
    kinds.Dumbbell: dumbbell,
    kinds.MaliciousRing: malicious_ring,
    kinds.TwoCliques: two_cliques,
}
