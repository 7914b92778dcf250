"""Configurations of the ClippedGossip experiments."""

from __future__ import annotations

import dataclasses
from typing import Literal

from experiments.contract import check_counts

Network = Literal["cnn", "mlp", "vgg"]


@dataclasses.dataclass(frozen=True)
class Training:
    """What all trainings have; the defaults are those of the paper's figure 6.

    Attributes:
        dataset: "mnist", "digits" (embedded) or another TFDS image set.
        network: the paper's "cnn", an "mlp", or "vgg" (CIFAR-10).
        learning_rate: of the local SGD.
        momentum: heavy-ball.
        rounds: communication rounds T.
        batch_size: examples per client and round.
        num_seeds: repetitions, with seeds seed, seed + 1, ...
        seed: first seed.
        hidden: width of the MLP.
        evaluations: points of the curves.
        eval_examples: test examples for curves and for single clients; the final accuracy of the
            averaged model is that on all.
    """

    dataset: str = "mnist"
    network: Network = "cnn"
    learning_rate: float = 0.01
    momentum: float = 0.9
    rounds: int = 900
    batch_size: int = 32
    num_seeds: int = 1
    seed: int = 0
    hidden: int = 64
    evaluations: int = 6
    eval_examples: int = 1000

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        counts = ("num_seeds", "rounds", "batch_size", "hidden", "evaluations", "eval_examples")
        check_counts(self, *counts)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


@dataclasses.dataclass(frozen=True)
class Consensus:
    """Averaging on a chain of four honest clients under dissensus (Fig. 3 and 8).

    Attributes:
        defenses: rules; a star means that values are repeated by their weights.
        deltas: weights of the byzantine neighbour.
        betas: weights of the link in the middle of the chain.
        strength: of the dissensus attack, eps.
        rounds: T.
        seed: not used, nothing is random.
    """

    defenses: tuple[str, ...] = ("SCClip", "Median", "TM", "Median*", "TM*")
    deltas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    betas: tuple[float, ...] = (
        0.58, 0.45, 0.35, 0.267, 0.19, 0.12, 0.08, 0.04, 0.02, 0.01, 0.001,
    )  # fmt: skip
    strength: float = 0.05
    rounds: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "rounds")
        for name in ("deltas", "betas"):
            values = getattr(self, name)
            if not values or not all(0 < value <= 2 / 3 for value in values):
                raise ValueError(f"{name} must be in (0, 2/3], got {values}")


@dataclasses.dataclass(frozen=True)
class MaliciousRing(Training):
    """A ring of honest clients with two byzantine leaves each (Fig. 6).

    Attributes:
        rules: such as "SCClip 0.1", see training.build_rule.
        attacks: such as "ALIE 10", see training.build_attack.
        majorities: whether the honest are to have a majority in every neighbourhood.
        honest: number of honest clients.
    """

    rules: tuple[str, ...] = ("SCClip 0.1", "GM", "TM 2", "MOZI 0.4")
    attacks: tuple[str, ...] = ("ALIE 10", "IPM", "Dissensus 1.5")
    majorities: tuple[bool, ...] = (False, True)
    honest: int = 5

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        if not self.rules or not self.attacks or not self.majorities:
            raise ValueError("rules, attacks and majorities must each hold at least one")


@dataclasses.dataclass(frozen=True)
class TwoCliques(Training):
    """Two cliques with different labels that meet in one client with a byzantine leaf (Fig. 5).

    Attributes:
        rules: such as "SCClip 1".
        attacks: at the largest strength; the first one at every strength.
        strengths: of the byzantine link, delta in [0, 1]; delta_max is a quarter of it.
        clique: size of a clique.
    """

    learning_rate: float = 0.001
    rounds: int = 1500
    evaluations: int = 5
    rules: tuple[str, ...] = ("SCClip 1",)
    attacks: tuple[str, ...] = ("Dissensus 1.5",)
    strengths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    clique: int = 5

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        if not self.rules or not self.attacks:
            raise ValueError("rules and attacks must each hold at least one")
        if not self.strengths or not all(0 <= s <= 1 for s in self.strengths):
            raise ValueError(f"strengths must be in [0, 1], got {self.strengths}")


@dataclasses.dataclass(frozen=True)
class Dumbbell(Training):
    """Two cliques with different labels and a bridge, without attackers (Fig. 4, Fig. 11).

    Attributes:
        rules: such as "SCClip 1".
        splits: "iid" or "noniid" (labels 0-4 in one clique, 5-9 in the other).
        remedies: of heterogeneity: "none", "bucketing", "random edge", "both".
        clique: size of a clique.
        decays: fractions of the rounds after which the learning rate is divided by 10.
    """

    rules: tuple[str, ...] = ("SCClip 1", "Gossip", "GM", "TM 1", "MOZI 0.99")
    splits: tuple[str, ...] = ("iid", "noniid")
    remedies: tuple[str, ...] = ("none", "bucketing", "random edge", "both")
    clique: int = 10
    decays: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        for name, known in (
            ("splits", ("iid", "noniid")),
            ("remedies", ("none", "bucketing", "random edge", "both")),
        ):
            values = getattr(self, name)
            if not values or not set(values) <= set(known):
                raise ValueError(f"{name} must be among {known}, got {values}")


@dataclasses.dataclass(frozen=True)
class Attacks(Training):
    """Every rule under every attack on one graph: a heat map.

    Attributes:
        graph: "torus", "small world", "random regular", "complete" or "malicious ring".
        n: number of clients (the honest of a malicious ring); a square for the torus.
        byzantine: how many of them are byzantine (none of those of a malicious ring).
        rules: such as "SCClip 1".
        attacks: such as "ALIE".
        alpha: Dirichlet concentration of the labels; None for iid.
    """

    dataset: str = "digits"
    network: Network = "mlp"
    learning_rate: float = 0.1
    rounds: int = 300
    num_seeds: int = 3
    evaluations: int = 5
    eval_examples: int = 360
    graph: str = "torus"
    n: int = 16
    byzantine: int = 3
    rules: tuple[str, ...] = (
        "Gossip", "SCClip 0.1", "SCClip", "CP 1", "CM", "TM 1", "GM", "Krum 1", "MOZI 0.4",
        "TM 1 + bucketing",
    )  # fmt: skip
    attacks: tuple[str, ...] = (
        "none", "Dissensus 1.5", "ALIE 10", "IPM", "BF", "LF", "Noise 1", "Mimic",
    )  # fmt: skip
    alpha: float | None = 1.0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "n")
        if not 0 <= self.byzantine < self.n:
            raise ValueError(f"byzantine must be in 0..{self.n - 1}, got {self.byzantine}")
