"""Configurations of the RelaySGD experiments."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from experiments.contract import check_counts

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


@dataclasses.dataclass(frozen=True)
class Unreliable:
    """Message loss on heterogeneous data (Table 5's question).

    Attributes:
        dataset: "digits" (embedded) or a TFDS image set.
        n: number of clients.
        alpha: Dirichlet concentration of the labels.
        losses: probabilities that a message gets lost.
        momentum: Nesterov momentum of the local SGD.
        learning_rates: grid, with the factors of :class:`Heterogeneity`.
        num_seeds: repetitions, with seeds seed, seed + 1, ...
        seed: first seed, of partition, initial model, batches and losses.
        rounds: communication rounds T.
        batch_size: examples per client and round.
        hidden: width of the hidden layer of the MLP.
        evaluations: points of the curves.
        eval_examples: test examples that the curves are drawn from.
    """

    dataset: str = "digits"
    n: int = 16
    alpha: float = 0.01
    losses: tuple[float, ...] = (0.0, 0.01, 0.1)
    momentum: float = 0.9
    learning_rates: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    num_seeds: int = 3
    seed: int = 0
    rounds: int = 400
    batch_size: int = 32
    hidden: int = 64
    evaluations: int = 20
    eval_examples: int = 2000

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "n", "num_seeds", "rounds", "batch_size", "hidden", "evaluations")
        check_positive(self, "learning_rates")
        if self.alpha <= 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}")
        if not self.losses or not all(0 <= loss < 1 for loss in self.losses):
            raise ValueError(f"losses must be in [0, 1), got {self.losses}")
        if not 0 < self.momentum < 1:
            raise ValueError(f"momentum must be in (0, 1), got {self.momentum}")


@dataclasses.dataclass(frozen=True)
class Cifar10:
    """VGG-11 on CIFAR-10 with the paper's schedule (Table 2).

    Attributes:
        dataset: a TFDS image set (other sizes than 32 x 32 x 3 are enlarged).
        methods: names such as "RelaySGD chain".
        momenta: Nesterov momenta; pairs of method and momentum that the paper has not are left out.
        alphas: Dirichlet concentrations of the labels.
        n: number of clients.
        epochs: passes over a client's data; warm-up and decays scale along.
        batch_size: examples per client and round.
        learning_rate: base rate of all methods; None for those that the paper tuned.
        width: channels of VGG-11's first layer; 64 is the original.
        num_seeds: repetitions, with seeds seed, seed + 1, ...
        seed: first seed.
        examples: number of training and test examples to use; None for all.
        evaluations: points of the curves.
        eval_examples: test examples to evaluate on.
    """

    dataset: str = "cifar10"
    methods: tuple[str, ...] = ALL_METHODS[:-1]
    momenta: tuple[float, ...] = (0.0, 0.9)
    alphas: tuple[float, ...] = (1.0, 0.1, 0.01)
    n: int = 16
    epochs: int = 200
    batch_size: int = 32
    learning_rate: float | None = None
    width: int = 64
    num_seeds: int = 3
    seed: int = 1
    examples: int | None = None
    evaluations: int = 40
    eval_examples: int = 10_000

    @property
    def is_paper(self) -> bool:
        """Whether this is the paper's set-up, so that its numbers can be expected."""
        size = (self.dataset, self.n, self.epochs, self.width, self.examples, self.learning_rate)
        return size == ("cifar10", 16, 200, 64, None, None)

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "n", "epochs", "batch_size", "width", "num_seeds", "evaluations")
        check_positive(self, "alphas")
        if not self.methods or not self.momenta:
            raise ValueError("methods and momenta must not be empty")


@dataclasses.dataclass(frozen=True)
class TunedQuadratics:
    """Methods tuned on quadratics of growing heterogeneity (figures 7, 8 and 10).

    Attributes:
        figure: which one.
        zetas: heterogeneities zeta^2.
        noise: sigma of the gradients once the learning rates are found.
        rounds: length of the final runs.
        n: number of clients.
        d: dimension.
        max_steps: rounds after which a run of the search is given up.
        seed: of gradient noise, and of problems that are drawn.
        recorded_problems: the original's problems, where n, d and the zetas are its own.
    """

    figure: Literal["fig7", "fig8", "fig10"] = "fig7"
    zetas: tuple[float, ...] = (0.0, 0.1, 10.0)
    noise: float = 0.05
    rounds: int = 2000
    n: int = 32
    d: int = 10
    max_steps: int = 10_000
    seed: int = 0
    recorded_problems: bool = True

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "rounds", "n", "d", "max_steps")
        if not self.zetas or min(*self.zetas, self.noise) < 0:
            raise ValueError(f"zetas and noise must not be negative, got {self.zetas}")


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Tuned steps to 1e-6 on quadratics against the number of clients (figure 2).

    Attributes:
        ns: numbers of clients.
        zetas: heterogeneities zeta^2.
        num_seeds: problems for each n and zeta^2.
        d: dimension.
        r0: distance of the optimum from the start.
        max_steps: rounds after which a run of the search is given up.
        seed: of the first problem.
        recorded_problems: the original's ten problems, where ns, zetas, d, r0, num_seeds and seed
            are its own; else problems are drawn.
    """

    ns: tuple[int, ...] = (6, 12, 24, 48, 96)
    zetas: tuple[float, ...] = (0.01, 1.0)
    num_seeds: int = 10
    d: int = 10
    r0: float = 100.0
    max_steps: int = 20_000
    seed: int = 0
    recorded_problems: bool = True

    @property
    def is_recorded(self) -> bool:
        """Whether the original's problems are used."""
        standard = Scaling()
        return (
            self.recorded_problems
            and {*self.ns} <= {*standard.ns}
            and {*self.zetas} <= {*standard.zetas}
            and (self.d, self.r0, self.num_seeds, self.seed)
            == (standard.d, standard.r0, standard.num_seeds, standard.seed)
        )

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "num_seeds", "d", "max_steps")
        check_positive(self, "ns", "zetas")


@dataclasses.dataclass(frozen=True)
class SocialNetwork:
    """The Davis network against its spanning trees, on noisy quadratics (figure 3).

    Attributes:
        num_seeds: problems, each with its own noise.
        rounds: T.
        d: dimension.
        zeta2: heterogeneity.
        noise: sigma of the gradients.
        gossip_rate: learning rate of D-PSGD.
        diffusion_rate: of exact diffusion.
        relay_rate: of RelaySGD.
        seed: of the first problem and of the noise.
    """

    num_seeds: int = 16
    rounds: int = 500
    d: int = 10
    zeta2: float = 0.1
    noise: float = 0.1
    gossip_rate: float = 0.07421875 / 1.1
    diffusion_rate: float = 0.1
    relay_rate: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "num_seeds", "d")
        if self.rounds < 251:
            raise ValueError(f"rounds must be at least 251, got {self.rounds}")


@dataclasses.dataclass(frozen=True)
class MeanEstimation:
    """Distributed mean estimation (figure 9).

    Attributes:
        ns: numbers of clients.
        rounds: samples of each client, T.
        num_seeds: repetitions.
        seed: of all samples.
    """

    ns: tuple[int, ...] = (8, 16, 32, 64, 128)
    rounds: int = 400
    num_seeds: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "rounds", "num_seeds")
        check_positive(self, "ns")
