"""Presets of the RelaySGD experiments."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

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
    """

    ns: tuple[int, ...] = (6, 12, 24, 48, 96)
    zetas: tuple[float, ...] = (0.01, 1.0)
    num_seeds: int = 10
    d: int = 10
    r0: float = 100.0
    max_steps: int = 20_000
    seed: int = 0

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
            learning_rates=(0.1, 0.3, 1.0),
            rounds=300,
            evaluations=3,
            eval_examples=1000,
        ),
        about="Table 2's question with an MLP: all methods with and without momentum, 16 clients",
        cost="TODO on 2 cores; --dataset mnist and digits too",
        expected="from alpha 1 to .01, RelaySGD loses at most 3 points, D-PSGD at least 10",
        smoke=SMOKE | {"dataset": "digits", "num_seeds": 1, "alphas": (1.0,)},
    ),
    "fig2": Preset(
        config=Scaling(),
        about="steps to 1e-6 on quadratics against n, every method tuned, 10 seeds",
        cost="TODO",
        expected="RelaySGD: 20.8 to 242.6 steps on the chain (n = 6 to 96), 15.2 to 36.2 on the tree",
        smoke={"ns": (3, 4), "num_seeds": 1, "max_steps": 200, "d": 3},
    ),
    "fig3": Preset(
        config=SocialNetwork(),
        about="D-PSGD and exact diffusion on the Davis network, RelaySGD on its 32 trees",
        cost="TODO",
        expected="error 5.1e-3, 6.1e-4 and 9e-4 to 1.7e-3 after 100 rounds",
        smoke={"num_seeds": 2, "rounds": 260},
    ),
    "fig7": Preset(
        config=TunedQuadratics(),
        about="gossip, D2, gradient tracking and RelaySGD tuned on 32 clients in a circle, noise",
        cost="TODO",
        expected="RelaySGD 51, 51, 54 steps at learning rates .869, .869, .898",
        smoke={"n": 4, "d": 3, "rounds": 20, "max_steps": 100},
    ),
    "fig8": Preset(
        config=TunedQuadratics(figure="fig8", zetas=(0.0, 0.01, 0.1), noise=0.0, rounds=400),
        about="D2, gradient tracking and RelaySGD tuned on a star of 32 clients",
        cost="TODO",
        expected="RelaySGD 8 steps, D2 65, gradient tracking 9 to 295",
        smoke={"n": 4, "d": 3, "rounds": 20, "max_steps": 100},
    ),
    "fig9": Preset(
        config=MeanEstimation(),
        about="mean estimation from a stream, RelaySum against gossip, 8 to 128 clients",
        cost="TODO",
        expected="RelaySum reaches 1/(nT), gossip does not",
        smoke={"ns": (3, 4), "rounds": 20, "num_seeds": 2},
    ),
    "fig10": Preset(
        config=TunedQuadratics(figure="fig10", zetas=(0.0, 0.01, 1.0), noise=0.0, rounds=1000),
        about="gossip, RelaySGD/Grad and RelaySGD tuned on a chain of 32 clients",
        cost="TODO",
        expected="RelaySGD 51, 51, 50 steps, RelaySGD/Grad 134, 132, 282",
        smoke={"n": 4, "d": 3, "rounds": 20, "max_steps": 100},
    ),
}
