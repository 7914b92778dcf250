"""The methods that the RelaySGD paper compares, by the names that its tables use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

import jcollab as jc

Topology = jc.topology.Topology


@dataclasses.dataclass(frozen=True)
class Method:
    """A method on a topology.

    Attributes:
        name: of the method.
        topology: name of the topology.
        build: ``build(loss, learning_rate, momentum, mixer) -> Algorithm``.
        mixer: ``mixer(n) -> Mixer``.
        correction: ``correction(n)``, the factor by which learning rates are scaled up because
            relayed updates come late.
        graph: ``graph(n) -> Topology`` for drawings; None for none.
    """

    name: str
    topology: str
    build: Callable[..., jc.Algorithm]
    mixer: Callable[..., jc.Mixer]
    correction: Callable[[int], float] = lambda n: 1.0
    graph: Callable[[int], Topology] | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.topology}"


def nesterov(learning_rate: Any, momentum: float) -> optax.GradientTransformation:
    """Local SGD with Nesterov momentum."""
    return optax.sgd(learning_rate, momentum=momentum or None, nesterov=bool(momentum))


def shared_models(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """A local step, then the mixer on the models."""
    return jc.decentralized(loss, nesterov(rate, momentum), mixer)


def shared_updates(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """The mixer on the updates only."""
    return jc.decentralized(loss, nesterov(rate, momentum), mixer, strength=0.0)


def corrected(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """D2."""
    return jc.d2(loss, nesterov(rate, momentum), mixer)


def tracking(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """Gradient tracking."""
    return jc.gradient_tracking(loss, nesterov(rate, momentum), mixer)


def quasi_global(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """D-PSGD with quasi-global momentum."""
    return jc.quasi_global_momentum(loss, rate, mixer, momentum=momentum)


def _trees(n: int) -> tuple[Topology, Topology]:
    return jc.topology.binary_tree(n), jc.topology.binary_tree(n, reverse=True)


def double_trees(n: int, **options: Any) -> jc.Mixer:
    """RelaySum with every other coordinate on the tree, the others on its reversed twin."""
    return jc.interleave(*(jc.relay_sum(tree, **options) for tree in _trees(n)))


def _chain_correction(n: int) -> float:
    return jc.topology.learning_rate_correction(jc.topology.chain(n))


def _tree_correction(n: int) -> float:
    return jc.topology.learning_rate_correction(_trees(n)[0])


def _ring(n: int) -> jc.Mixer:
    return jc.gossip(jc.topology.ring(n))


def _chain(n: int) -> jc.Mixer:
    return jc.gossip(jc.topology.chain(n))


METHODS = {
    str(method): method
    for method in (
        Method("all-reduce", "complete", shared_models, lambda n: jc.all_reduce()),
        Method("D-PSGD", "ring", shared_models, _ring, graph=jc.topology.ring),
        Method("D-PSGD", "chain", shared_models, _chain, graph=jc.topology.chain),
        Method("D-PSGD + QGM", "ring", quasi_global, _ring, graph=jc.topology.ring),
        Method("D2", "ring", corrected, _ring, graph=jc.topology.ring),
        Method("gradient tracking", "ring", tracking, _ring, graph=jc.topology.ring),
        Method("SGP", "exponential", shared_models, lambda n: jc.one_peer_exponential(n, rounds=2)),
        Method(
            "RelaySGD",
            "chain",
            shared_models,
            lambda n: jc.relay_sum(jc.topology.chain(n)),
            _chain_correction,
            jc.topology.chain,
        ),
        Method("RelaySGD", "double trees", shared_models, double_trees, _tree_correction),
        Method(
            "RelaySGD/Grad",
            "chain",
            shared_updates,
            lambda n: jc.relay_sum(jc.topology.chain(n), fill="zero"),
            _chain_correction,
            jc.topology.chain,
        ),
    )
}
# in Table 2 of the paper, and gossip on the chain
PAPER_METHODS = (
    "all-reduce complete",
    "RelaySGD chain",
    "RelaySGD double trees",
    "SGP exponential",
    "D-PSGD + QGM ring",
    "D2 ring",
    "D-PSGD ring",
    "D-PSGD chain",
)
