"""Configurations of the experiments on optimal averaging."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.contract import check_counts

# made of models that were trained alone, and trained together
AVERAGED = (
    "local",
    "global",
    "oracle",
    "oracle groups",
    "plug-in",
    "plug-in shared",
    "pre-test",
)
TRAINED = ("FedAvg", "FedAvg + tuning", "Ditto", "APFL", "APFL adaptive", "plug-in updates")


def check_range(config: Any, low: float, high: float, *names: str) -> None:
    """ValueError for a field (each entry of a tuple) outside [low, high], or an empty tuple."""
    for name in names:
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or not all(low <= v <= high for v in values):
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value}")


@dataclasses.dataclass(frozen=True)
class Parabola:
    """Risk against the weight of the others, in theory and by Monte Carlo.

    Attributes:
        biases: of the others' mean.
        local_samples: of the client, exponential with variance 1.
        global_samples: of the others, uniform with variance 1.
        ratios: weights, as multiples of the best one.
        repetitions: of the Monte Carlo.
        seed: of the Monte Carlo.
    """

    biases: tuple[float, ...] = (0.0, 0.1, 0.2, 0.5, 1.0)
    local_samples: int = 10
    global_samples: int = 90
    ratios: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
    repetitions: int = 400_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "local_samples", "global_samples", "repetitions")
        check_range(self, -1e3, 1e3, "biases")
        check_range(self, -10, 10, "ratios")


@dataclasses.dataclass(frozen=True)
class PlugInRisk:
    """Risk of plug-in rules against the bias of the others.

    Attributes:
        global_variances: of the others' estimate; the client's has variance 1.
        largest_bias: end of the grid of biases.
        num_biases: points of the grid, from 0 on.
        repetitions: of the Monte Carlo.
        seed: of the Monte Carlo.
    """

    global_variances: tuple[float, ...] = (0.0, 0.1, 1.0)
    largest_bias: float = 10.0
    num_biases: int = 81
    repetitions: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "repetitions")
        check_range(self, 0, 1e6, "global_variances", "largest_bias")
        if self.num_biases < 2:
            raise ValueError(f"num_biases must be at least 2, got {self.num_biases}")


@dataclasses.dataclass(frozen=True)
class Population:
    """Clients whose targets are drawn from a population, averaged by the mixer.

    Attributes:
        n: clients.
        num_samples: of each client.
        variance: of a sample.
        spreads: standard deviations of the clients' targets.
        num_weights: points of the grid of weights in [0, 1].
        repetitions: of the Monte Carlo.
        seed: of the Monte Carlo.
    """

    n: int = 20
    num_samples: int = 5
    variance: float = 1.0
    spreads: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 1.0, 2.0)
    num_weights: int = 101
    repetitions: int = 40_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "num_samples", "repetitions")
        check_range(self, 2, 1e6, "n", "num_weights")
        check_range(self, 0, 1e6, "variance", "spreads")


@dataclasses.dataclass(frozen=True)
class MultiNode:
    """A client with several others whose biases point one way or cancel.

    Attributes:
        variances: of each estimate, the client's own first.
        biases: sizes of the others' biases.
        scales: factors of the biases.
        repetitions: of the Monte Carlo.
        seed: of the Monte Carlo.
    """

    variances: tuple[float, ...] = (0.1, 0.05, 0.02, 0.2)
    biases: tuple[float, ...] = (0.3, 0.2, 0.05)
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    repetitions: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "repetitions")
        check_range(self, 1e-6, 1e6, "variances")
        check_range(self, 0, 1e6, "biases", "scales")
        if len(self.biases) != len(self.variances) - 1:
            raise ValueError(
                f"biases must be those of the {len(self.variances) - 1} others, got {self.biases}"
            )


@dataclasses.dataclass(frozen=True)
class Models:
    """Two latent groups of clients that disagree about some labels.

    Attributes:
        dataset: "digits" (embedded), "mnist" or another TFDS image set.
        n: clients.
        minority: clients of the second group.
        shifted: numbers of classes whose labels the second group permutes, one task for each.
        examples: training examples of all clients together.
        imbalance: examples of the largest client over those of the smallest.
        hidden: width of the MLP; 0 for a linear model.
        trained: methods that train models together, beside those that average trained ones.
        learning_rate: of SGD, in all methods.
        weight_decay: of SGD, in all methods.
        rounds: local steps.
        period: local steps between two averages of FedAvg, Ditto and APFL.
        tuning: local steps of fine-tuning after FedAvg.
        attraction: lambda of Ditto.
        weight_rate: eta of adaptive APFL's weights, which start at 0.5.
        batch_size: examples per client and step.
        num_weights: points of the grid of weights in [0, 1].
        num_seeds: repetitions, with seeds seed, seed + 1, ...
        seed: first seed.
    """

    dataset: str = "digits"
    n: int = 20
    minority: int = 6
    shifted: tuple[int, ...] = (0, 3, 6)
    examples: int = 1400
    imbalance: float = 8.0
    hidden: int = 0
    trained: tuple[str, ...] = TRAINED
    learning_rate: float = 0.2
    weight_decay: float = 1e-3
    rounds: int = 400
    period: int = 10
    tuning: int = 40
    attraction: float = 0.3
    weight_rate: float = 0.01
    batch_size: int = 32
    num_weights: int = 21
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        counts = ("rounds", "period", "tuning", "batch_size", "num_seeds", "examples")
        check_counts(self, *counts)
        check_range(self, 3, 1e6, "n")
        check_range(self, 2, 1e6, "num_weights")
        check_range(self, 1, self.n - 1, "minority")
        check_range(self, 0, 10, "shifted")
        check_range(self, 1, 1e3, "imbalance")
        check_range(self, 0, 1e6, "hidden", "weight_decay", "attraction", "weight_rate")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not set(self.trained) <= set(TRAINED):
            raise ValueError(f"trained must be among {', '.join(TRAINED)}, got {self.trained}")
        if 1 in self.shifted:
            raise ValueError(
                f"shifted must not hold 1, since labels are traded, got {self.shifted}"
            )
