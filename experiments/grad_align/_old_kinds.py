"""Configurations of the gradient alignment experiments."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Literal

from experiments.contract import check_counts

METHODS = ("large-batch SGD", "FedProx", "SCAFFOLD", "FedGA")
Network = Literal["cnn", "mlp"]


@dataclasses.dataclass(frozen=True)
class Taylor:
    """GradAlign's direction against the gradient of the loss with a penalty on the variance.

    Attributes:
        betas: displacements, each half of the one before.
        seed: not used, nothing is random.
    """

    betas: tuple[float, ...] = (0.2, 0.1, 0.05, 0.025, 0.0125)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        _check_halves("betas", self.betas)


@dataclasses.dataclass(frozen=True)
class SgdRegulariser:
    """An epoch of SGD, in the mean over all orders, against gradient descent and GradAlign.

    Attributes:
        gammas: learning rates, each half of the one before.
        seed: not used, all orders are gone through.
    """

    gammas: tuple[float, ...] = (0.01, 0.005, 0.0025)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        _check_halves("gammas", self.gammas)


@dataclasses.dataclass(frozen=True)
class LocalSteps:
    """The coefficient of the variance that a round of local steps descends on.

    Attributes:
        gammas: learning rates, each half of the one before.
        steps: numbers of local steps K.
        ratios: beta / gamma of FedGA; 0 is FedAvg.
        seed: not used, nothing is random.
    """

    gammas: tuple[float, ...] = (0.01, 0.005, 0.0025)
    steps: tuple[int, ...] = (1, 2, 5)
    ratios: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        _check_halves("gammas", self.gammas)
        if not self.steps or not all(step >= 1 for step in self.steps):
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        _check_betas("ratios", self.ratios)


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Ten clients that hold one Gaussian class each, and some wrong labels.

    Attributes:
        betas: displacements of GradAlign; 0 is gradient descent.
        local_betas: displacements of FedGA; 0 is FedAvg.
        gamma: learning rate of GradAlign.
        local_gamma: of the local steps of FedGA and SCAFFOLD.
        local_steps: K of FedGA and SCAFFOLD.
        rounds: of GradAlign.
        local_rounds: of FedGA and SCAFFOLD.
        num_seeds: data sets and initial models.
        seed: of the first.
        classes: number of classes and clients.
        dimension: of the inputs.
        examples: of each client.
        test_examples: without wrong labels.
        separation: standard deviation of the classes' means; within a class it is 1.
        noise: fraction of training labels that are redrawn from all classes.
        hidden: width of the tanh network.
    """

    betas: tuple[float, ...] = (0.0, 0.05, 0.2, 0.5, 1.0)
    local_betas: tuple[float, ...] = (0.0, 0.025, 0.1, 0.225, 0.5)
    gamma: float = 0.1
    local_gamma: float = 0.05
    local_steps: int = 10
    rounds: int = 600
    local_rounds: int = 120
    num_seeds: int = 10
    seed: int = 0
    classes: int = 10
    dimension: int = 20
    examples: int = 40
    test_examples: int = 2000
    separation: float = 1.0
    noise: float = 0.1
    hidden: int = 64

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        counts = ("local_steps", "rounds", "local_rounds", "num_seeds", "dimension", "examples")
        check_counts(self, *counts, "test_examples", "hidden")
        _check_rates(self, "gamma", "local_gamma", "separation")
        _check_betas("betas", self.betas)
        _check_betas("local_betas", self.local_betas)
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, got {self.classes}")
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must be in [0, 1), got {self.noise}")


@dataclasses.dataclass(frozen=True)
class Training:
    """What both trainings on images have.

    Attributes:
        dataset: "digits" (embedded), "mnist", "fashion_mnist" or another TFDS image set.
        network: the paper's "cnn" (images of 28 x 28), or an "mlp".
        hidden: width of the MLP.
        n: shards of the data.
        num_sampled: clients of a round, each with a shard.
        examples: of each client; None for all of its shard.
        rounds: T.
        weight_decay: in local steps only.
        num_seeds: initial models, and draws of clients.
        seed: of the first.
        evaluations: points of the curves.
        eval_examples: test examples for the curves; the final accuracy is that on all.
    """

    dataset: str = "digits"
    network: Network = "mlp"
    hidden: int = 64
    n: int = 94
    num_sampled: int = 20
    examples: int | None = None
    rounds: int = 801
    weight_decay: float = 1e-3
    num_seeds: int = 5
    seed: int = 0
    evaluations: int = 20
    eval_examples: int = 2000

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        counts = ("hidden", "n", "rounds", "num_seeds", "evaluations", "eval_examples")
        check_counts(self, *counts)
        if self.examples is not None:
            check_counts(self, "examples")
        if not 1 <= self.num_sampled <= self.n:
            raise ValueError(f"num_sampled must be in 1..n = {self.n}, got {self.num_sampled}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.network == "cnn" and self.dataset == "digits":
            raise ValueError("network must be 'mlp' for digits, whose 8 x 8 pixels are too few")


@dataclasses.dataclass(frozen=True)
class EmnistStyle(Training):
    """The paper's federated setting: clients with one class each, of whom few are sampled.

    Attributes:
        methods: among METHODS; FedAvg is FedGA at 0.
        local_steps: K, each on all examples of the client.
        gamma: learning rate of local steps.
        betas: displacements of FedGA; 0 is FedAvg.
        strengths: mu of FedProx.
        large_batch_gamma: learning rate of large-batch SGD.
    """

    dataset: str = "mnist"
    n: int = 47
    num_sampled: int = 10
    examples: int | None = 100
    rounds: int = 300
    num_seeds: int = 3
    methods: tuple[str, ...] = METHODS
    local_steps: int = 10
    gamma: float = 0.05
    betas: tuple[float, ...] = (0.0, 0.025, 0.1, 0.225, 0.5)
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0)
    large_batch_gamma: float = 0.2

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "local_steps")
        if not self.methods or not set(self.methods) <= set(METHODS):
            raise ValueError(f"methods must be among {', '.join(METHODS)}, got {self.methods}")
        _check_rates(self, "gamma", "large_batch_gamma")
        _check_betas("betas", self.betas)
        if not all(strength > 0 for strength in self.strengths):
            raise ValueError(f"strengths must be positive, got {self.strengths}")


@dataclasses.dataclass(frozen=True)
class Distributed(Training):
    """The paper's distributed setting: one large batch, cut into shards that are dealt anew.

    Attributes:
        gamma: learning rate.
        betas: displacements of GradAlign; 0 is large-batch SGD.
        clip: largest norm of the gradient.
    """

    gamma: float = 0.2
    betas: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    clip: float = 10.0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        _check_rates(self, "gamma", "clip")
        _check_betas("betas", self.betas)


def _check_halves(name: str, values: tuple[float, ...]) -> None:
    halves = all(abs(b / a - 0.5) < 1e-6 for a, b in itertools.pairwise(values) if a > 0)
    if not values or not values[0] > 0 or not halves:
        raise ValueError(f"{name} must be positive, each half of the one before, got {values}")


def _check_betas(name: str, values: tuple[float, ...]) -> None:
    if 0 not in values or not all(value >= 0 for value in values):
        raise ValueError(f"{name} must be at least 0, and 0 among them, got {values}")


def _check_rates(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
