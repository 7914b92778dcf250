"""Configurations of the federated experiments."""

from __future__ import annotations

import dataclasses

from experiments.contract import check_counts

METHODS = ("FedAvg", "FedProx", "SCAFFOLD", "FedGA", "FedGA c=0", "FedDyn", "FedAvgM", "FedAdam")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Methods on labels that differ between clients, each with its learning rate tuned.

    Attributes:
        dataset: "digits", or "mnist", "fashion_mnist" with JCOLLAB_DATA.
        methods: names, see :mod:`experiments.federated.methods`.
        n: clients.
        num_sampled: of whom a round takes part.
        shards_per_client: data sorted by label are cut into shards, which are dealt to clients.
        local_steps: H.
        batch_size: examples of a local step.
        rounds: T.
        learning_rates: of local steps; the best on validation data counts.
        hidden: width of the MLP.
        evaluations: points of the curves.
        eval_examples: test and validation examples that the curves are drawn from.
        target: accuracy whose first round is reported.
        num_seeds: repetitions, each with its own partition.
        seed: of the first repetition.
    """

    dataset: str = "digits"
    methods: tuple[str, ...] = METHODS
    n: int = 40
    num_sampled: int = 8
    shards_per_client: int = 2
    local_steps: int = 10
    batch_size: int = 10
    rounds: int = 150
    learning_rates: tuple[float, ...] = (0.03, 0.1, 0.3)
    hidden: int = 64
    evaluations: int = 15
    eval_examples: int = 360
    target: float = 0.9
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(
            self,
            *("n", "num_sampled", "shards_per_client", "local_steps", "batch_size", "rounds"),
            *("hidden", "evaluations", "eval_examples", "num_seeds"),
        )
        if self.num_sampled > self.n:
            raise ValueError(f"num_sampled must be in 1..n={self.n}, got {self.num_sampled}")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(f"learning_rates must be positive, got {self.learning_rates}")
        if not self.methods:
            raise ValueError("methods must hold at least one method, got none")


@dataclasses.dataclass(frozen=True)
class Population:
    """Rounds of m clients out of ever larger populations.

    Attributes:
        populations: numbers of clients N.
        num_sampled: m.
        examples: of each client.
        features: of an example.
        local_steps: H.
        rounds: T.
        learning_rate: of local steps.
        method: "FedAvg" or "SCAFFOLD", which keeps a model for each client.
        host: whether clients lie in host memory, see :func:`jcollab.run_offloaded`.
        seed: of everything random.
    """

    populations: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    num_sampled: int = 1000
    examples: int = 4
    features: int = 32
    local_steps: int = 2
    rounds: int = 200
    learning_rate: float = 0.1
    method: str = "FedAvg"
    host: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "num_sampled", "examples", "features", "local_steps", "rounds")
        if not self.populations or min(self.populations) < self.num_sampled:
            raise ValueError(
                f"populations must hold at least num_sampled={self.num_sampled} clients each, got "
                f"{self.populations}"
            )
        if self.method not in ("FedAvg", "SCAFFOLD"):
            raise ValueError(f"method must be FedAvg or SCAFFOLD, got {self.method!r}")
