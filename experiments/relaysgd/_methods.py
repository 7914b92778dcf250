"""The methods that the RelaySGD paper compares, by the names that its tables use."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import optax

import jcollab as jc

# the paper's D2 on a ring lies exactly at the limit that is warned of
warnings.filterwarnings("ignore", "D2 needs")

Topology = jc.topology.Topology
Build = Callable[..., jc.Algorithm]  # build(loss, learning_rate, momentum, mixer)
GRAPHS: dict[str, Callable[[int], Topology]] = {
    "ring": jc.topology.ring,
    "chain": jc.topology.chain,
    "star": jc.topology.star,
    "tree": jc.topology.binary_tree,
}
TREES = ("chain", "star", "tree")


@dataclasses.dataclass(frozen=True)
class Method:
    """A method on a topology."""

    name: str
    topology: str
    build: Build
    mixer: Callable[[int], jc.Mixer]  # of n clients
    # the factor by which learning rates are scaled up because relayed updates come late
    correction: Callable[[int], float] = lambda n: 1.0
    graph: Callable[[int], Topology] | None = None  # for drawings

    def __str__(self) -> str:
        return f"{self.name} {self.topology}"


def _local(make: Callable[..., jc.Algorithm], **options: Any) -> Build:
    def build(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
        sgd = optax.sgd(rate, momentum=momentum or None, nesterov=bool(momentum))
        return make(loss, sgd, mixer, **options)

    return build


# local SGD with Nesterov momentum, and the mixer on models or on updates only
shared_models, shared_updates = _local(jc.decentralized), _local(jc.decentralized, strength=0.0)
d2, gradient_tracking = _local(jc.d2), _local(jc.gradient_tracking)


def quasi_global(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """D-PSGD with quasi-global momentum."""
    return jc.quasi_global_momentum(loss, rate, mixer, momentum=momentum)


def double_trees(n: int, **options: Any) -> jc.Mixer:
    """RelaySum with every other coordinate on the tree, the others on its reversed twin."""
    trees = (jc.topology.binary_tree(n, reverse=reverse) for reverse in (False, True))
    return jc.interleave(*(jc.relay_sum(tree, **options) for tree in trees))


def tree_correction(n: int) -> float:
    """The correction of RelaySGD on one tree, or two."""
    return jc.topology.learning_rate_correction(jc.topology.binary_tree(n))


def _gossip(name: str, build: Build, graph: str) -> Method:
    make = GRAPHS[graph]
    return Method(name, graph, build, lambda n: jc.gossip(make(n)), graph=make)


def _relay(name: str, build: Build, graph: str, **options: Any) -> Method:
    make = GRAPHS[graph]
    return Method(
        name,
        graph,
        build,
        lambda n: jc.relay_sum(make(n), **options),
        lambda n: jc.topology.learning_rate_correction(make(n)),
        make,
    )


METHODS = {
    str(method): method
    for method in (
        Method("all-reduce", "complete", shared_models, lambda n: jc.all_reduce()),
        Method("SGP", "exponential", shared_models, lambda n: jc.one_peer_exponential(n, rounds=2)),
        Method("RelaySGD", "double trees", shared_models, double_trees, tree_correction),
        *(_relay("RelaySGD", shared_models, tree) for tree in TREES),
        *(_relay("RelaySGD/Grad", shared_updates, tree, fill="zero") for tree in TREES),
        *(_gossip("D-PSGD", shared_models, graph) for graph in GRAPHS),
        *(_gossip("D-PSGD + QGM", quasi_global, graph) for graph in GRAPHS),
        *(_gossip("D2", d2, graph) for graph in GRAPHS),
        *(_gossip("gradient tracking", gradient_tracking, graph) for graph in GRAPHS),
    )
}
# in Table 2 of the paper
PAPER_METHODS = (
    "all-reduce complete",
    "RelaySGD chain",
    "RelaySGD double trees",
    "SGP exponential",
    "D-PSGD + QGM ring",
    "D2 ring",
    "D-PSGD ring",
)
