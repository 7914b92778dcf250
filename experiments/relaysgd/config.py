"""Presets of the RelaySGD experiments."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.contract import Preset

ALL_METHODS = (
    "all-reduce complete",
    "RelaySGD chain",
    "RelaySGD double trees",
    "SGP exponential",
    "D-PSGD + QGM ring",
    "D2 ring",
    "D-PSGD ring",
    "D-PSGD chain",
)


def check_counts(config: Any, *names: str) -> None:
    """ValueError for a field that must be at least 1 and is not."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")


def check_positive(config: Any, *names: str) -> None:
    """ValueError for a list that is empty or holds a number that is not positive."""
    for name in names:
        values = getattr(config, name)
        if not values or not all(value > 0 for value in values):
            raise ValueError(f"{name} must be positive numbers, got {values}")


@dataclasses.dataclass(frozen=True)
class Heterogeneity:
    """Worst-client accuracy of methods when clients hold different labels.

    Attributes:
        dataset: "digits" (embedded) or a TFDS image set.
        methods: names such as "RelaySGD chain".
        n: number of clients.
        alphas: Dirichlet concentrations of the labels; small is heterogeneous.
        momenta: Nesterov momenta of the local SGD.
        learning_rates: grid, before the factors (1 - momentum) and, for RelaySGD, the topology's
            correction; the best is chosen on validation data.
        num_seeds: repetitions, with seeds seed, seed + 1, ...
        seed: first seed, of partition, initial model and batches.
        rounds: communication rounds T.
        batch_size: examples per client and round.
        hidden: width of the hidden layer of the MLP.
        examples: number of training examples to use; None for all.
        evaluations: points of the curves.
        eval_examples: test examples that the curves are drawn from (the table uses all).
    """

    dataset: str = "digits"
    methods: tuple[str, ...] = ("all-reduce complete", "D-PSGD chain", "RelaySGD chain")
    n: int = 16
    alphas: tuple[float, ...] = (0.1, 0.01)
    momenta: tuple[float, ...] = (0.9,)
    learning_rates: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    num_seeds: int = 3
    seed: int = 0
    rounds: int = 400
    batch_size: int = 32
    hidden: int = 64
    examples: int | None = None
    evaluations: int = 20
    eval_examples: int = 2000

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        counts = ("n", "num_seeds", "rounds", "batch_size", "hidden", "evaluations")
        check_counts(self, *counts, "eval_examples")
        check_positive(self, "alphas", "learning_rates")
        if not self.momenta or not all(0 <= momentum < 1 for momentum in self.momenta):
            raise ValueError(f"momenta must be in [0, 1), got {self.momenta}")
        if not self.methods:
            raise ValueError("methods must name at least one method, got none")


SMOKE = {
    "n": 4,
    "rounds": 6,
    "num_seeds": 2,
    "learning_rates": (1.0, 3.0),
    "hidden": 8,
    "evaluations": 2,
}
PRESETS = {
    "quickstart": Preset(
        config=Heterogeneity(),
        about="16 clients on a chain learn handwritten digits; D-PSGD, RelaySGD and all-reduce",
        cost="1 minute on 2 cores",
        expected="worst client at alpha 0.01: RelaySGD about .97, D-PSGD about .7",
        smoke=SMOKE,
    ),
    "heterogeneity": Preset(
        config=Heterogeneity(
            dataset="fashion_mnist",
            methods=ALL_METHODS,
            alphas=(1.0, 0.1, 0.01),
            momenta=(0.0, 0.9),
            evaluations=4,
        ),
        about="Table 2's question with an MLP: all methods with and without momentum, 16 clients",
        cost="TODO on 2 cores; --dataset mnist and digits too",
        expected="from alpha 1 to .01, RelaySGD loses at most 3 points, D-PSGD at least 10",
        smoke=SMOKE | {"dataset": "digits", "num_seeds": 1, "alphas": (1.0,)},
    ),
}
