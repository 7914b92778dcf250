"""Presets of the RelaySGD experiments."""

from __future__ import annotations

import dataclasses

from experiments.contract import Preset


@dataclasses.dataclass(frozen=True)
class Heterogeneity:
    """Worst-client accuracy of methods on a chain when clients hold different labels.

    Attributes:
        dataset: "digits" (embedded) or a TFDS image set.
        n: number of clients.
        alphas: Dirichlet concentrations of the labels; small is heterogeneous.
        learning_rates: grid; the best is chosen on validation data, per method and alpha.
        num_seeds: repetitions, with seeds seed, seed + 1, ...
        seed: first seed, of partition, initial model and batches.
        rounds: communication rounds T.
        batch_size: examples per client and round.
        momentum: of the local SGD.
        hidden: width of the hidden layer of the MLP.
    """

    dataset: str = "digits"
    n: int = 16
    alphas: tuple[float, ...] = (0.1, 0.01)
    learning_rates: tuple[float, ...] = (0.1, 0.3, 1.0)
    num_seeds: int = 3
    seed: int = 0
    rounds: int = 400
    batch_size: int = 32
    momentum: float = 0.9
    hidden: int = 64

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        for name in ("n", "num_seeds", "rounds", "batch_size", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("alphas", "learning_rates"):
            values = getattr(self, name)
            if not values or not all(value > 0 for value in values):
                raise ValueError(f"{name} must be positive numbers, got {values}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


PRESETS = {
    "quickstart": Preset(
        config=Heterogeneity(),
        about="16 clients on a chain learn handwritten digits; D-PSGD, RelaySGD and all-reduce",
        cost="2 minutes on 2 cores",
        expected="worst client at alpha 0.01: RelaySGD about .97, D-PSGD about .7",
        smoke={"n": 4, "rounds": 6, "num_seeds": 2, "learning_rates": (0.3, 1.0), "hidden": 8},
    ),
}
