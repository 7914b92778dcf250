"""Configurations of the experiments on representation sharing."""

from __future__ import annotations

import dataclasses

from experiments.contract import check_among, check_counts

MODELS = ("lenet5", "mlp", "resnet9", "resnet18")
METHODS = ("CL", "FL", "IL", "FD", "FD others", "FedProto", "ours", "ours paper", "ours others")


@dataclasses.dataclass(frozen=True)
class Base:
    """What all of them share; the defaults are those of the preset ``digits``.

    Attributes:
        dataset: "digits", or "mnist", "fashion_mnist", "cifar10" with JCOLLAB_DATA.
        model: "lenet5", "mlp", or with batch normalisation "resnet9" or "resnet18".
        num_features: d.
        examples: the first so many training examples are dealt to the clients.
        rounds: T, each an epoch of every client.
        batch_size: of a local step.
        learning_rate: of Adam.
        distillation: lambda_KD.
        discrimination: lambda_disc.
        samples_per_class: examples in an observation.
        evaluations: points of the curves.
        eval_examples: test examples that the curves are drawn from.
        num_seeds: repetitions, each with its own partition and models.
        seed: of the first repetition.
    """

    dataset: str = "digits"
    model: str = "lenet5"
    num_features: int = 84
    examples: int = 300
    rounds: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-3
    distillation: float = 10.0
    discrimination: float = 1.0
    samples_per_class: int = 10
    evaluations: int = 10
    eval_examples: int = 360
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(
            self,
            *("num_features", "examples", "rounds", "batch_size", "samples_per_class"),
            *("evaluations", "eval_examples", "num_seeds"),
        )
        check_among("model", (self.model,), MODELS)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        for name in ("distillation", "discrimination"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Comparison(Base):
    """All methods for several numbers of clients (Table 1).

    Attributes:
        clients: numbers of clients N.
        methods: names, see :mod:`experiments.rep_sharing.methods`.
    """

    clients: tuple[int, ...] = (10,)
    methods: tuple[str, ...] = METHODS

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        if not self.clients or min(self.clients) < 2 or max(self.clients) > self.examples:
            raise ValueError(f"clients must be in 2..{self.examples}, got {self.clients}")
        if not self.methods or (unknown := set(self.methods) - set(METHODS)):
            raise ValueError(f"methods must be among {', '.join(METHODS)}, got {sorted(unknown)}")


@dataclasses.dataclass(frozen=True)
class Variants(Base):
    """Our method over other networks, with liars, or with several architectures.

    Attributes:
        kind: "gossip", "byzantine" or "heterogeneous".
        n: clients.
        byzantine: how many of them send false prototypes, where some do.
        loss: share of messages that are lost, where some are.
    """

    kind: str = "gossip"
    n: int = 10
    byzantine: int = 3
    loss: float = 0.2

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        if self.kind not in ("gossip", "byzantine", "heterogeneous"):
            raise ValueError(f"kind must be gossip, byzantine or heterogeneous, got {self.kind!r}")
        if not 3 <= self.n <= self.examples:
            raise ValueError(f"n must be in 3..{self.examples}, got {self.n}")
        if not 0 < self.byzantine < self.n / 2:
            raise ValueError(
                f"byzantine must be in 1..(n-1)/2 for n={self.n}, got {self.byzantine}"
            )
        if not 0 <= self.loss <= 1:
            raise ValueError(f"loss must be in [0, 1], got {self.loss}")


@dataclasses.dataclass(frozen=True)
class LambdaMap(Base):
    """Gain over independent learning for a grid of both weights (Fig. 2), in one program.

    Attributes:
        n: clients.
        weights: values of lambda_KD and of lambda_disc.
    """

    n: int = 5
    weights: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        if not 2 <= self.n <= self.examples:
            raise ValueError(f"n must be in 2..{self.examples}, got {self.n}")
        if 0.0 not in self.weights or min(self.weights) < 0 or max(self.weights) == 0:
            raise ValueError(f"weights must hold 0 and positive numbers, got {self.weights}")
