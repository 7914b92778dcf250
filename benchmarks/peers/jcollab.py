"""This library with its defaults, on one device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workloads import Workload, flows, images, rings, rules, sequences

VERSIONS = ("jax-collab", "jax", "jaxlib", "flax")


def _runs(build: Callable[..., Workload]) -> Callable[..., Callable[[], Any]]:
    return lambda **sizes: build(**sizes).run


federated, network, gossip = map(_runs, (images.federated, images.network, images.gossip))
ring, rule, glow = map(_runs, (rings.ring, rules.rule, flows.glow))
recurrent, attention, diloco = map(
    _runs, (sequences.recurrent, sequences.attention, sequences.diloco)
)
