"""Configurations of the experiments with latent perturbations."""

from __future__ import annotations

import dataclasses
from typing import Literal

from experiments.contract import check_among, check_counts

METHODS = (
    "plain",
    "crop_flip",
    "mixup",
    "cutout",
    "pgd",
    "vae",
    "away",
    "randomized",
    "adversarial",
)
NORMS = ("l2", "linf")


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """A Glow and its training.

    Attributes:
        dataset: "digits" of scikit-learn, or a TFDS name.
        fraction: of the training set that is used, the same images for all seeds.
        shrink: images are averaged over squares of so many pixels, and rounded to bytes.
        flow_levels: L.
        flow_steps: K of each level.
        flow_width: channels inside the couplings.
        flow_convolution: full matrices or LU factors.
        flow_rounds: steps of training.
        flow_optimizer: "adam" with warm-up, cosine decay and clipped gradients, or "adamax" with
            warm-up and weight decay in the gradient, as in the paper for CIFAR-10.
        flow_warmup: steps of the warm-up, at most a tenth of all.
        flow_weight_decay: of "adamax".
        flow_batch_size: images of a step.
        flow_learning_rate: the largest one.
        flow_crop_flip: pixels that images are moved by at random in the flow's training, and
            mirrored; 0 leaves them alone.
        decoding: "corrected" undoes all that encoding did, "released" leaves contrast at .9.
        held_out: test images for bits per dimension.
        temperature: of the samples that are drawn.
        seed: of the first repetition, and of the flow.
    """

    dataset: str = "mnist"
    fraction: float = 0.05
    shrink: int = 1
    flow_levels: int = 2
    flow_steps: int = 6
    flow_width: int = 32
    flow_convolution: Literal["full", "lu"] = "full"
    flow_rounds: int = 1500
    flow_optimizer: Literal["adam", "adamax"] = "adam"
    flow_warmup: int = 100
    flow_weight_decay: float = 5e-5
    flow_batch_size: int = 64
    flow_learning_rate: float = 2e-3
    flow_crop_flip: int = 0
    decoding: Literal["corrected", "released"] = "corrected"
    held_out: int = 1000
    temperature: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(
            self, "flow_levels", "flow_steps", "flow_width", "flow_rounds", "flow_batch_size"
        )
        check_counts(self, "held_out", "shrink")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")
        if self.flow_crop_flip < 0:
            raise ValueError(f"flow_crop_flip must be at least 0, got {self.flow_crop_flip}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        for name in ("flow_warmup", "flow_weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        check_among("flow_optimizer", (self.flow_optimizer,), ("adam", "adamax"))
        check_among("flow_convolution", (self.flow_convolution,), ("full", "lu"))
        check_among("decoding", (self.decoding,), ("corrected", "released"))


@dataclasses.dataclass(frozen=True)
class Density(FlowSettings):
    """A flow alone: bits per dimension, samples, perturbed images.

    Attributes:
        bits: what held-out images may cost at most, in bits per dimension; the claim.
    """

    bits: float = 8.0


@dataclasses.dataclass(frozen=True)
class Comparison(FlowSettings):
    """Classifiers trained with perturbed images, paired by seed.

    Attributes:
        flow_data: images that the flow is trained on: the "same" ones that have labels, or "all"
            of the training set, without labels.
        methods: what images go through in training.
        classifier: network.
        hidden: widths of dense layers.
        rounds: steps of training.
        batch_size: images of a step.
        optimizer: "adam" with cosine decay, or "sgd" with Nesterov momentum .9 and rates times .2
            after 30, 60 and 80 % of the rounds.
        learning_rate: at the start.
        weight_decay: decoupled for Adam, in the gradient for SGD.
        crop_flip: pixels of the crops (and flips) that come before every method; 0 for none.
        shift: pixels of the crops of the method "crop_flip".
        random_radius: standard deviation of "randomized" and "away".
        random_norm: of the ball that it is projected to, or "none".
        radius: of "adversarial".
        step_size: of "adversarial".
        attack_steps: of "adversarial" and "pgd".
        attack_norm: of "adversarial".
        attack_labels: the classifier's "own" or the "true" ones.
        pgd_radius: of "pgd", L-infinity, of pixels; steps are 2.5 radius / attack_steps.
        vae_latents: d of the VAE.
        vae_radius: standard deviation in its latent space.
        vae_rounds: steps of its training, on the flow's images.
        cutout_size: side of the square.
        mixup_alpha: of the Beta distribution.
        tested: test images, None for all.
        num_seeds: repetitions, paired over methods.
    """

    flow_data: Literal["same", "all"] = "same"
    methods: tuple[str, ...] = METHODS
    classifier: Literal["lenet", "mlp", "resnet18"] = "lenet"
    hidden: tuple[int, ...] = (120, 84)
    rounds: int = 900
    batch_size: int = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    crop_flip: int = 0
    shift: int = 2
    random_radius: float = 0.5
    random_norm: Literal["none", "l2", "linf"] = "none"
    radius: float = 0.3
    step_size: float = 0.2
    attack_steps: int = 2
    attack_norm: Literal["l2", "linf"] = "linf"
    attack_labels: Literal["own", "true"] = "own"
    pgd_radius: float = 0.1
    vae_latents: int = 32
    vae_radius: float = 0.5
    vae_rounds: int = 1500
    cutout_size: int = 8
    mixup_alpha: float = 1.0
    tested: int | None = None
    num_seeds: int = 5

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "rounds", "batch_size", "vae_latents", "vae_rounds", "num_seeds")
        check_among("methods", self.methods, METHODS)
        if "plain" not in self.methods:
            raise ValueError(f"methods must hold plain, got {self.methods}")
        check_among("flow_data", (self.flow_data,), ("same", "all"))
        check_among("classifier", (self.classifier,), ("lenet", "mlp", "resnet18"))
        check_among("optimizer", (self.optimizer,), ("adam", "sgd"))
        check_among("random_norm", (self.random_norm,), ("none", *NORMS))
        check_among("attack_norm", (self.attack_norm,), NORMS)
        check_among("attack_labels", (self.attack_labels,), ("own", "true"))
        for name in ("random_radius", "radius", "step_size", "pgd_radius", "vae_radius"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("attack_steps", "crop_flip", "shift", "cutout_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Federated(Comparison):
    """Clients that share a flow of public images, and no data.

    Attributes:
        n: clients.
        alpha: of the Dirichlet distribution of labels.
        public: fraction of the training set that is public, without labels, and nobody's; the
            clients hold ``fraction`` of the training set beside it.
        local_steps: of a client in a round.
    """

    n: int = 10
    alpha: float = 0.3
    public: float = 0.5
    local_steps: int = 5

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "n", "local_steps")
        if not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha}")
        if not (self.public > 0 and self.public + self.fraction <= 1):
            raise ValueError(
                f"public must be above 0 and leave a fraction of {self.fraction} to the clients, "
                f"got {self.public}"
            )
