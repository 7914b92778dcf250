"""Presets of representation sharing."""

from __future__ import annotations

from typing import Any

from experiments.contract import Preset
from experiments.rep_sharing.kinds import Comparison, LambdaMap, Variants

TINY: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "num_features": 4,
    "examples": 60,
    "rounds": 2,
    "evaluations": 2,
    "eval_examples": 20,
    "num_seeds": 1,
}
FEW = TINY | {"clients": (3,), "methods": ("CL", "IL", "FD", "ours")}
MNIST: dict[str, Any] = {
    "model": "lenet5",
    "num_features": 84,
    "examples": 1200,
    "rounds": 100,
    "batch_size": 32,
    "eval_examples": 500,
}
PRESETS = {
    "digits": Preset(
        config=Comparison(),
        about="all methods on scikit-learn's digits, 10 clients with 30 examples each",
        cost="5 minutes on 2 cores",
        expected="ours .78, FD .80, independent learning .70, FedAvg .89",
        smoke=FEW,
    ),
    "mnist": Preset(
        config=Comparison(dataset="mnist", clients=(2, 5, 10), **MNIST),
        about="Table 1: the first 1200 images of MNIST over 2, 5 and 10 clients, LeNet5",
        cost="40 minutes on 2 cores",
        expected="N=10: ours .86, FD .85, IL .78 (paper: .82, .78, .73)",
        smoke=FEW,
    ),
    "fashion_mnist": Preset(
        config=Comparison(
            dataset="fashion_mnist",
            clients=(2, 5, 10),
            **MNIST | {"examples": 6000, "rounds": 20},
        ),
        about="6000 images of Fashion-MNIST in 20 rounds, LeNet5 (paper: --model resnet9)",
        cost="50 minutes on 2 cores",
        expected="N=10: ours .70, FD .66, IL .66, FedAvg .70",
        smoke=FEW,
    ),
    "cifar10": Preset(
        config=Comparison(
            dataset="cifar10",
            clients=(2, 5, 10),
            **MNIST | {"examples": 10_000, "rounds": 20, "model": "resnet18", "num_features": 256},
        ),
        about="10000 images of CIFAR-10 in 20 rounds, with ResNet18 [GPU]",
        cost="one GPU; not run yet",
        expected="paper, N=2, 5, 10: ours .635, .473, .378; IL .599, .465, .385",
        smoke=FEW,
    ),
    "gossip": Preset(
        config=Variants(kind="gossip"),
        about="prototypes averaged by neighbours on a ring, and over links that lose messages",
        cost="3 minutes on 2 cores",
        expected="a ring does as well as a server, above independent learning",
        smoke=TINY | {"n": 4, "byzantine": 1},
    ),
    "byzantine": Preset(
        config=Variants(kind="byzantine"),
        about="3 of 10 clients send false prototypes; mean, median and trimmed mean of each class",
        cost="2 minutes on 2 cores",
        expected="robust rules above independent learning, the mean below",
        smoke=TINY | {"n": 4, "byzantine": 1},
    ),
    "heterogeneous": Preset(
        config=Variants(kind="heterogeneous", n=9),
        about="three architectures, 3 clients each, which share 84 features",
        cost="2 minutes on 2 cores",
        expected="each architecture above independent learning",
        smoke=TINY | {"n": 3, "byzantine": 1},
    ),
    "lambda_map": Preset(
        config=LambdaMap(rounds=60, num_seeds=1),
        about="Fig. 2 on digits: 64 pairs of weights in one program (MNIST: --dataset mnist ...)",
        cost="2 minutes on 2 cores",
        expected="the gain comes from distillation",
        smoke=TINY | {"n": 3, "weights": (0.0, 1.0)},
    ),
}
