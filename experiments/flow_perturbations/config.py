"""Presets of the experiments with latent perturbations."""

from __future__ import annotations

import dataclasses

from experiments.contract import Preset
from experiments.flow_perturbations.kinds import Comparison, Density, Federated

TINY_FLOW = {
    "dataset": "digits",
    "flow_levels": 1,
    "flow_steps": 2,
    "flow_width": 4,
    "flow_rounds": 2,
    "flow_batch_size": 8,
    "held_out": 16,
}
TINY = TINY_FLOW | {
    "classifier": "mlp",
    "hidden": (4,),
    "rounds": 2,
    "batch_size": 4,
    "methods": ("plain", "randomized", "adversarial"),
    "tested": 20,
    "num_seeds": 1,
    "vae_rounds": 2,
}
LOW_DATA = Comparison(
    shrink=2,
    flow_levels=1,
    flow_rounds=1000,
    methods=("plain", "randomized", "adversarial"),
    rounds=700,
    random_radius=0.2,
    radius=0.7,
    step_size=0.5,
    attack_norm="l2",
)
# the paper's Glow: 3 levels of 32 steps, width 512
PAPERS_FLOW = {
    "dataset": "cifar10",
    "flow_levels": 3,
    "flow_steps": 32,
    "flow_width": 512,
    "flow_learning_rate": 5e-4,
    "flow_optimizer": "adamax",
    "flow_warmup": 7_812,
    "flow_crop_flip": 4,
}
CIFAR10 = Comparison(
    **PAPERS_FLOW,
    fraction=1.0,
    flow_rounds=200_000,
    methods=("plain", "cutout", "mixup", "randomized", "adversarial"),
    classifier="resnet18",
    hidden=(64,),
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    rounds=78_000,
    batch_size=128,
    crop_flip=4,
    random_radius=20.0,
    random_norm="l2",
    radius=1.0,
    step_size=0.5,
    attack_steps=3,
    attack_norm="l2",
    cutout_size=16,
    num_seeds=1,
)
PRESETS = {
    "digits": Preset(
        config=Comparison(
            dataset="digits",
            fraction=0.1,
            flow_levels=1,
            flow_data="all",
            classifier="mlp",
            hidden=(64,),
            rounds=600,
            batch_size=32,
            learning_rate=3e-3,
            shift=1,
            random_radius=0.3,
            radius=0.5,
            step_size=0.35,
            attack_norm="l2",
            cutout_size=3,
            vae_latents=8,
            seed=10,
        ),
        about="scikit-learn's digits, 144 of them with labels; the flow sees all 1437",
        cost="3 minutes on 2 cores, no download",
        expected="latent perturbations are more accurate than plain training",
        smoke=TINY,
    ),
    "mnist_low_data": Preset(
        config=LOW_DATA,
        about="MNIST, 5 % of the images (3000) for flow and LeNet, paired seeds",
        cost="30 minutes on 2 cores, MNIST in JCOLLAB_DATA",
        expected="plain < randomized <= adversarial",
        smoke=TINY,
    ),
    "fashion_low_data": Preset(
        config=dataclasses.replace(
            LOW_DATA,
            dataset="fashion_mnist",
            rounds=1500,
            radius=0.5,
            step_size=0.35,
            seed=10,
        ),
        about="Fashion-MNIST, 5 % of the images (3000) for flow and LeNet, paired seeds",
        cost="20 minutes on 2 cores, Fashion-MNIST in JCOLLAB_DATA",
        expected="plain < randomized <= adversarial",
        smoke=TINY | {"methods": ("plain", "randomized")},
    ),
    "federated": Preset(
        config=Federated(
            dataset="digits",
            fraction=0.2,
            public=0.8,
            flow_levels=1,
            classifier="mlp",
            hidden=(64,),
            rounds=100,
            batch_size=16,
            methods=("plain", "randomized", "adversarial"),
            learning_rate=3e-3,
            random_radius=0.3,
            radius=0.5,
            step_size=0.35,
            attack_norm="l2",
        ),
        about="digits over 10 clients (Dirichlet .3): FedAvg with a flow of public images",
        cost="3 minutes on 2 cores, no download",
        expected="latent perturbations are more accurate than plain FedAvg",
        smoke=TINY | {"n": 2, "local_steps": 1},
    ),
    "cifar10_flow": Preset(
        config=Density(**PAPERS_FLOW, fraction=1.0, flow_rounds=200_000, bits=3.6),
        about="the paper's Glow on CIFAR-10: 3 levels of 32 steps, width 512",
        cost="a GPU for a day, CIFAR-10 in JCOLLAB_DATA",
        expected="held-out images at most 3.6 bits per dimension",
        smoke=TINY_FLOW,
    ),
    "cifar10": Preset(
        config=CIFAR10,
        about="CIFAR-10, ResNet-18 for 200 epochs, crops and flips for all methods",
        cost="a GPU for days, CIFAR-10 in JCOLLAB_DATA",
        expected="adversarial 96.6 % (paper)",
        smoke=TINY
        | {"classifier": "resnet18", "hidden": (2,), "methods": ("plain", "adversarial")},
    ),
    "cifar10_low_data": Preset(
        config=dataclasses.replace(
            CIFAR10, fraction=0.05, flow_rounds=30_000, rounds=4_000, num_seeds=5
        ),
        about="CIFAR-10, 5 % of the images (2500) for flow and ResNet-18, paired seeds",
        cost="a GPU for a day, CIFAR-10 in JCOLLAB_DATA",
        expected="relative improvement of 10 to 25 % (paper)",
        smoke=TINY | {"methods": ("plain", "mixup")},
    ),
}
