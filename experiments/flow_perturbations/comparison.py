"""Accuracy of classifiers trained with and without perturbed images.

Semantic perturbations with normalizing flows, arXiv 2108.07958, abstract.

    python -m experiments flow_perturbations digits

scikit-learn's digits, 144 of them with labels; the flow sees all 1437.
Cost: 3 minutes on 2 cores, no download.
Expected: latent perturbations are more accurate than plain training.

    python -m experiments flow_perturbations mnist_low_data

MNIST, 5 % of the images (3000) for flow and LeNet, paired seeds.
Cost: 30 minutes on 2 cores, MNIST in JCOLLAB_DATA.
Expected: plain < randomized <= adversarial.

    python -m experiments flow_perturbations fashion_low_data

Fashion-MNIST, 5 % of the images (3000) for flow and LeNet, paired seeds.
Cost: 20 minutes on 2 cores, Fashion-MNIST in JCOLLAB_DATA.
Expected: plain < randomized <= adversarial.

    python -m experiments flow_perturbations cifar10

CIFAR-10, ResNet-18 for 200 epochs, crops and flips for all methods.
Cost: a GPU for days, CIFAR-10 in JCOLLAB_DATA.
Expected: adversarial 96.6 % (paper).

    python -m experiments flow_perturbations cifar10_low_data

CIFAR-10, 5 % of the images (2500) for flow and ResNet-18, paired seeds.
Cost: a GPU for a day, CIFAR-10 in JCOLLAB_DATA.
Expected: relative improvement of 10 to 25 % (paper).
"""

import dataclasses

import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.flow_perturbations import _training as training
from experiments.flow_perturbations._flow import PAPERS_FLOW, make_problem

Config = training.Config
shown, claims, figures = training.shown, training.claims, training.figures
LOW_DATA = Config(
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
CIFAR10 = Config(
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
    "digits": Config(
        **training.DIGITS,
        fraction=0.1,
        flow_data="all",
        rounds=600,
        batch_size=32,
        shift=1,
        cutout_size=3,
        vae_latents=8,
        seed=10,
    ),
    "mnist_low_data": LOW_DATA,
    "fashion_low_data": dataclasses.replace(
        LOW_DATA, dataset="fashion_mnist", rounds=1500, radius=0.5, step_size=0.35, seed=10
    ),
    "cifar10": CIFAR10,
    "cifar10_low_data": dataclasses.replace(
        CIFAR10, fraction=0.05, flow_rounds=30_000, rounds=4_000, num_seeds=5
    ),
}
SMOKE = {
    "digits": training.SMALL,
    "mnist_low_data": training.SMALL,
    "fashion_low_data": training.SMALL | {"methods": ("plain", "randomized")},
    "cifar10": training.SMALL
    | {"classifier": "resnet18", "hidden": (2,), "methods": ("plain", "adversarial")},
    "cifar10_low_data": training.SMALL | {"methods": ("plain", "mixup")},
}


def run(config: Config, context: Context) -> list[Row]:
    """Trains one classifier for each method and seed."""
    problem = make_problem(config)
    data = jc.data.by_client(problem.train, [np.arange(len(problem.train.y))])
    batches = jc.data.minibatches(data, config.batch_size)
    return training.compare(problem, context, jc.centralized, 1, batches, data_axes=None)
