"""Configurations of the D-BAT experiments."""

from __future__ import annotations

import dataclasses
from typing import Literal

from experiments.contract import check_among, check_counts

PROBLEMS = ("digits", "dominoes", "cifar_dominoes", "colored_mnist")
METHODS = ("D-BAT", "deep ensemble")
POOLS = ("test", "different")
Logarithm = Literal["released", "stable"]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What experiments on images with a shortcut share: data, network, and sizes.

    Attributes:
        problem: which images: one logit for dominoes, one per class for colours.
        batch_size: labelled, and unlabelled, examples of a round.
        weight_decay: of AdamW.
        network: LeNet or an MLP.
        channels: of the two convolutions of LeNet.
        hidden: widths of the dense layers.
        variance: of LeNet's first weights, times their inputs.
        shrink: images are averaged over squares of so many pixels.
        anchor: "frozen" is the released multi-class form, "trained" that of the paper.
        logarithm: the released one has an epsilon of 1e-7.
        examples: of each data set that are used, None for all.
        num_seeds: repetitions.
        seed: of the first.
    """

    problem: Literal["digits", "dominoes", "cifar_dominoes", "colored_mnist"] = "dominoes"
    batch_size: int = 256
    weight_decay: float = 1e-6
    network: Literal["lenet", "mlp"] = "lenet"
    channels: tuple[int, ...] = (6, 16)
    hidden: tuple[int, ...] = (120, 84)
    variance: float = 1.0
    shrink: int = 1
    anchor: Literal["frozen", "trained"] = "frozen"
    logarithm: Logarithm = "released"
    examples: int | None = None
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "batch_size", "shrink", "num_seeds")
        check_among("problem", (self.problem,), PROBLEMS)
        check_among("network", (self.network,), ("lenet", "mlp"))
        check_among("logarithm", (self.logarithm,), ("released", "stable"))
        check_among("anchor", (self.anchor,), ("frozen", "trained"))
        if len(self.channels) != 2:
            raise ValueError(f"channels must be two values, got {self.channels}")
        if not self.variance > 0:
            raise ValueError(f"variance must be positive, got {self.variance}")
        if self.examples is not None and self.examples < 1:
            raise ValueError(f"examples must be at least 1, or None, got {self.examples}")


@dataclasses.dataclass(frozen=True)
class Images(Pictures):
    """Two members, one after the other.

    Attributes:
        pools: unlabelled sets: from the test distribution, or different from it.
        alphas: weight of the agreement, for each pool.
        methods: "D-BAT" and "deep ensemble", or D-BAT alone.
        members: M.
        rounds: of the first member, and of each later one.
        learning_rates: of the first member and of the later ones.
        optimizers: "adamw" or "sgd" (momentum .9), of the first member and of the later ones.
    """

    pools: tuple[str, ...] = POOLS
    alphas: tuple[float, ...] = (0.5, 1.0)
    methods: tuple[str, ...] = METHODS
    members: int = 2
    rounds: tuple[int, ...] = (360, 360)
    learning_rates: tuple[float, ...] = (5e-4, 5e-4)
    optimizers: tuple[str, ...] = ("adamw", "adamw")

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "members")
        check_among("methods", self.methods, METHODS)
        if "D-BAT" not in self.methods:
            raise ValueError(f"methods must hold D-BAT, got {self.methods}")
        check_among("pools", self.pools, POOLS)
        check_among("optimizers", self.optimizers, ("adamw", "sgd"))
        if len(self.alphas) != len(self.pools) or min(self.alphas) < 0:
            raise ValueError(f"alphas must be at least 0, one for each pool, got {self.alphas}")
        for name in ("rounds", "learning_rates", "optimizers"):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} must be two values, got {getattr(self, name)}")
        if min(self.rounds) < 1 or min(self.learning_rates) <= 0:
            raise ValueError(
                f"rounds and learning_rates must be positive, got {self.rounds} and "
                f"{self.learning_rates}"
            )


@dataclasses.dataclass(frozen=True)
class Collaborative(Pictures):
    """Clients with labelled examples of their own, half of which disagree with the other half.

    Attributes:
        clients: n, an even number; the first half learn freely.
        pool: the public unlabelled set, "test" or "different".
        alpha: weight of the agreement.
        rounds: T.
        warmup: rounds before disagreement counts.
        learning_rate: of AdamW.
    """

    clients: int = 4
    pool: Literal["test", "different"] = "test"
    alpha: float = 0.5
    rounds: int = 600
    warmup: int = 200
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "clients", "rounds")
        check_among("pool", (self.pool,), POOLS)
        if self.problem == "colored_mnist":
            raise ValueError("problem must be one with dominoes, got 'colored_mnist'")
        if self.clients % 2:
            raise ValueError(f"clients must be even, got {self.clients}")
        if not 0 <= self.warmup <= self.rounds:
            raise ValueError(f"warmup must be in 0..rounds={self.rounds}, got {self.warmup}")
        if self.alpha < 0 or self.learning_rate <= 0:
            raise ValueError(
                "alpha must be at least 0 and learning_rate positive, got "
                f"{self.alpha} and {self.learning_rate}"
            )


@dataclasses.dataclass(frozen=True)
class Toy2d:
    """Slabs in the plane, with unlabelled points that are searched for around labelled ones.

    Attributes:
        points: labelled points.
        hidden: width of the network.
        rounds: of the first member, and of the second one.
        batch_size: examples of a round.
        learning_rate: of Adam.
        alpha: weight of the agreement.
        epsilon: in its logarithm.
        steps: of the search.
        step_size: of the search.
        radius: how far points are moved along each coordinate.
        grid: points along each side of the plane that is drawn.
        num_seeds: repetitions.
        seed: of the first.
    """

    points: int = 50_000
    hidden: int = 128
    rounds: tuple[int, ...] = (6250, 3125)
    batch_size: int = 64
    learning_rate: float = 0.01
    alpha: float = 0.01
    epsilon: float = 1e-5
    steps: int = 15
    step_size: float = 0.1
    radius: float = 1.0
    grid: int = 121
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "points", "hidden", "batch_size", "steps", "grid", "num_seeds")
        if len(self.rounds) != 2 or min(self.rounds) < 1:
            raise ValueError(f"rounds must be two positive values, got {self.rounds}")


@dataclasses.dataclass(frozen=True)
class Theorem:
    """A table of four cells, two of them labelled: the second member must use the other feature.

    Attributes:
        alpha: weight of the agreement.
        rounds: of Adam.
        learning_rate: of Adam.
        num_seeds: initial tables.
        seed: of the first.
    """

    alpha: float = 1.0
    rounds: int = 2000
    learning_rate: float = 0.1
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "rounds", "num_seeds")


@dataclasses.dataclass(frozen=True)
class Uncertainty:
    """MNIST 0 and 1: entropy on the line through two digits, and on digits that are neither.

    Attributes:
        dataset: "mnist", or "digits" of scikit-learn.
        alpha: weight of the agreement.
        rounds: of each member.
        batch_size: labelled, and unlabelled, examples of a round.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        hidden: widths of the dense layers of LeNet.
        dropout: of Monte Carlo dropout.
        draws: of Monte Carlo dropout.
        pairs: of a 0 and a 1, which lines go through.
        steps: points of each line, from t = -1 to 2.
        num_seeds: repetitions.
        seed: of the first.
    """

    dataset: str = "mnist"
    alpha: float = 10.0
    rounds: int = 400
    batch_size: int = 128
    learning_rate: float = 5e-4
    weight_decay: float = 1e-6
    hidden: tuple[int, ...] = (120, 84)
    dropout: float = 0.2
    draws: int = 20
    pairs: int = 100
    steps: int = 61
    num_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "rounds", "batch_size", "draws", "pairs", "steps", "num_seeds")
        check_among("dataset", (self.dataset,), ("mnist", "digits"))
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout must be in (0, 1), got {self.dropout}")
