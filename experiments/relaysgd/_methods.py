"""Methods of the RelaySGD paper, and its numbers for them."""

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import optax

import jcollab as jc
from experiments import contract
from experiments.fields import Bound

# D2 on a ring is exactly at the stability limit, which causes a warning
warnings.filterwarnings("ignore", "D2 needs")

Build = Callable[..., jc.Algorithm]  # build(loss, learning_rate, momentum, mixer)
# parts of the training: length of the warmup, and times at which the rate is divided by 10
WARMUP, DECAYS = 1 / 40, (0.75, 0.9)
GRAPHS: dict[str, Callable[[int], jc.topology.Topology]] = {
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

    def __str__(self) -> str:
        return f"{self.name} {self.topology}"

    @property
    def tags(self) -> dict[str, str]:
        """Fields of a row."""
        return {"algorithm": self.name, "topology": self.topology}

    def correction(self, n: int) -> float:
        """Returns the factor that compensates learning rates for the delay of relayed updates."""
        if not self.name.startswith("RelaySGD"):
            return 1.0
        tree = GRAPHS.get(self.topology, jc.topology.binary_tree)
        return jc.topology.learning_rate_correction(tree(n))


def decayed(rate: Any, rounds: int) -> optax.Schedule:
    """Builds the paper's schedule, at the same parts of a training of another length."""
    milestones = [part * rounds for part in DECAYS]
    return jc.local.schedules.warmup_step_decay(rate, 1, WARMUP * rounds, milestones)


def _local(make: Callable[..., jc.Algorithm], **options: Any) -> Build:
    def build(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
        sgd = optax.sgd(rate, momentum=momentum or None, nesterov=bool(momentum))
        return make(loss, sgd, mixer, **options)

    return build


# local SGD with Nesterov momentum; the mixer exchanges models or updates
shared_models = _local(jc.decentralized)
shared_updates = _local(jc.decentralized, mixing_weight=0.0)
d2, gradient_tracking = _local(jc.algorithms.d2), _local(jc.algorithms.gradient_tracking)


def quasi_global(loss: Any, rate: Any, momentum: float, mixer: jc.Mixer) -> jc.Algorithm:
    """Builds D-PSGD with quasi-global momentum."""
    return jc.algorithms.quasi_global_momentum(loss, rate, mixer, momentum=momentum)


def double_trees(n: int, **options: Any) -> jc.Mixer:
    """Builds RelaySum with even coordinates on a tree, odd ones on the reversed tree."""
    trees = (jc.topology.binary_tree(n, reverse=reverse) for reverse in (False, True))
    return jc.mixing.interleave(*(jc.relay_sum(tree, **options) for tree in trees))


def _on(graphs: Iterable[str], name: str, build: Build, mix: Any, **options: Any) -> list[Method]:
    return [
        Method(name, graph, build, lambda n, make=GRAPHS[graph]: mix(make(n), **options))
        for graph in graphs
    ]


one_peer = functools.partial(jc.mixing.one_peer_exponential, rounds=2)
METHODS = {
    str(method): method
    for method in (
        Method("all-reduce", "complete", shared_models, lambda n: jc.all_reduce()),
        Method("SGP", "exponential", shared_models, one_peer),
        Method("RelaySGD", "double trees", shared_models, double_trees),
        *_on(TREES, "RelaySGD", shared_models, jc.relay_sum),
        *_on(TREES, "RelaySGD/Grad", shared_updates, jc.relay_sum, fill="zero"),
        *_on(GRAPHS, "D-PSGD", shared_models, jc.gossip),
        *_on(GRAPHS, "D-PSGD + QGM", quasi_global, jc.gossip),
        *_on(GRAPHS, "D2", d2, jc.gossip),
        *_on(GRAPHS, "gradient tracking", gradient_tracking, jc.gossip),
    )
}
Name = Annotated[str, Bound(among=METHODS)]
published = functools.partial(contract.published, "relaysgd")
PAPER_METHODS = tuple(published("table2"))
# from best to worst at alpha = 0.01 in Table 2, with momentum where the paper has it
PAPER_ORDER = ("all-reduce", "RelaySGD", "SGP", "D-PSGD + QGM", "D2", "D-PSGD")


def in_order(accuracies: dict[str, float], where: str) -> contract.Claim:
    """Claims that the accuracies of methods have the order of Table 2."""
    present = [name for name in PAPER_ORDER if name in accuracies]
    measured = ", ".join(f"{name} {accuracies[name]:.3f}" for name in present)
    same = all(accuracies[a] >= accuracies[b] for a, b in itertools.pairwise(present))
    sentence = f"the order of the paper's Table 2 ({where})"
    return contract.Claim(sentence, " >= ".join(present), measured, same)
