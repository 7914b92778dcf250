"""Configurations of the experiments on critical parameters."""

from __future__ import annotations

import dataclasses

from experiments.contract import check_counts


def _check_list(config: object, name: str, least: float) -> None:
    values = getattr(config, name)
    if not values or not all(value >= least for value in values):
        raise ValueError(f"{name} must hold numbers of at least {least:g}, got {values}")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Speed-up against the batch, exact and by Monte Carlo (T1, T1b, T3).

    Attributes:
        noise_ratios: values of M.
        batches: values of b.
        condition: of the least-squares problems of T1b.
        accuracy: eps of T3, whose sigma^2 is 1.
        runs: Monte Carlo runs of T1.
        steps: steps of a Monte Carlo run.
        monte_carlo: how many of the three recorded cases are run.
        seed: of the Monte Carlo.
    """

    noise_ratios: tuple[float, ...] = (9.0, 99.0)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
    condition: float = 50.0
    accuracy: float = 0.01
    runs: int = 20_000
    steps: int = 6
    monte_carlo: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "runs", "steps")
        _check_list(self, "noise_ratios", 0)
        _check_list(self, "batches", 1)
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy must be in (0, 1), got {self.accuracy}")
        if not self.condition >= 1:
            raise ValueError(f"condition must be at least 1, got {self.condition}")


@dataclasses.dataclass(frozen=True)
class Delay:
    """Slowdown against the delay, exact and by Monte Carlo (T2).

    Attributes:
        noise_ratios: values of M.
        delays: values of tau.
        runs: Monte Carlo runs, with M = 9 and tau = 10.
        seed: of the Monte Carlo.
    """

    noise_ratios: tuple[float, ...] = (0.0, 9.0, 99.0)
    delays: tuple[int, ...] = (0, 1, 3, 10, 30, 100, 200)
    runs: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "runs")
        _check_list(self, "noise_ratios", 0)
        _check_list(self, "delays", 0)
        if 0 not in self.delays:
            raise ValueError(f"delays must hold 0, which slowdowns refer to, got {self.delays}")


@dataclasses.dataclass(frozen=True)
class Sparse:
    """Sparse gradients bear long delays (T4), and so does sparse logistic regression.

    Attributes:
        dimension: d of the one-hot problem.
        runs: Monte Carlo runs of the one-hot problem.
        features: d of the logistic regression.
        examples: its size.
        densities: share of features that are not zero.
        delays: largest delays of single coordinates, drawn uniformly (Hogwild).
        num_seeds: repetitions of the logistic regression.
        max_steps: where its runs end.
        seed: of all draws.
    """

    dimension: int = 100
    runs: int = 1000
    features: int = 64
    examples: int = 512
    densities: tuple[float, ...] = (1.0, 0.25, 0.0625)
    delays: tuple[int, ...] = (0, 4, 16, 64, 256)
    num_seeds: int = 8
    max_steps: int = 40_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "dimension", "runs", "features", "examples", "num_seeds", "max_steps")
        _check_list(self, "delays", 0)
        if not self.densities or not all(0 < share <= 1 for share in self.densities):
            raise ValueError(f"densities must be in (0, 1], got {self.densities}")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Estimators of noise over signal where it is known (T5).

    Attributes:
        dimension: d of the least squares.
        label_noise: variance of the labels.
        small: the small batch.
        large: the large batch.
        samples: examples that each estimator may use.
        trajectory: steps of the run along which M and sigma^2 are fitted.
        seed: of the draws.
    """

    dimension: int = 20
    label_noise: float = 0.25
    small: int = 10
    large: int = 1000
    samples: int = 400_000
    trajectory: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "dimension", "small", "samples", "trajectory")
        if not self.small < self.large <= self.samples:
            raise ValueError(f"large must be in small + 1..samples, got {self.large}")


@dataclasses.dataclass(frozen=True)
class WallClock:
    """Time to a target against the number of clients, three methods.

    Attributes:
        clients: values of n.
        links: times of both transfers, in compute times.
        condition: of the least squares.
        features: its dimension.
        target: factor by which the error is to fall.
        local_steps: H of local SGD.
        spread: 0 for equally fast clients that take always the same time; else every job is
            random, gamma with this variance.
        seed: of the draws.
    """

    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    links: tuple[float, ...] = (0.0, 4.0)
    condition: float = 10.0
    features: int = 12
    target: float = 0.01
    local_steps: int = 8
    spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "features", "local_steps")
        _check_list(self, "clients", 1)
        _check_list(self, "links", 0)
        if not self.spread >= 0:
            raise ValueError(f"spread must be at least 0, got {self.spread}")
        if 1 not in self.clients:
            raise ValueError(f"clients must hold 1, which speed-ups refer to, got {self.clients}")


@dataclasses.dataclass(frozen=True)
class Logistic:
    """Regularised logistic regression on real data: tuned steps against batch and delay (T6).

    Attributes:
        datasets: "breast_cancer" and "digits" (of scikit-learn), or a TFDS image set.
        batches: values of b.
        delays: values of tau.
        target: share of the first suboptimality that is aimed at.
        regularization: l2.
        examples: at most that many.
        num_seeds: repetitions.
        max_steps: where runs end.
        seed: first seed.
    """

    datasets: tuple[str, ...] = ("breast_cancer", "digits")
    batches: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    delays: tuple[int, ...] = (0, 10, 30, 100, 300)
    target: float = 0.01
    regularization: float = 1e-3
    examples: int = 4000
    num_seeds: int = 8
    max_steps: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "examples", "num_seeds", "max_steps")
        _check_list(self, "batches", 1)
        _check_list(self, "delays", 0)
        if not self.datasets:
            raise ValueError("datasets must hold at least one")
        if not 0 < self.target < 1:
            raise ValueError(f"target must be in (0, 1), got {self.target}")
        if not self.regularization > 0:
            raise ValueError(f"regularization must be positive, got {self.regularization}")


@dataclasses.dataclass(frozen=True)
class Network:
    """A small CNN: measured critical batch and delay against the estimate, early and late.

    Attributes:
        dataset: "digits", or a TFDS image set such as "mnist".
        channels: of the convolutions.
        hidden: width of the dense layer.
        batches: values of b.
        delays: values of tau.
        examples: at most that many.
        losses: training losses at the start and at the end of either stage; the first starts from
            a fresh network.
        num_seeds: repetitions.
        max_steps: where runs end.
        seed: first seed.
    """

    dataset: str = "digits"
    channels: tuple[int, ...] = (8, 16)
    hidden: int = 32
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)
    delays: tuple[int, ...] = (0, 3, 10, 30)
    examples: int = 1437
    losses: tuple[float, ...] = (0.5, 0.1, 0.05)
    num_seeds: int = 4
    max_steps: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "hidden", "examples", "num_seeds", "max_steps")
        _check_list(self, "batches", 1)
        _check_list(self, "delays", 0)
        if len(self.losses) != 3 or not self.losses[0] > self.losses[1] > self.losses[2] > 0:
            raise ValueError(f"losses must be three falling positive numbers, got {self.losses}")
