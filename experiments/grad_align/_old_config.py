"""Presets of the gradient alignment experiments."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.grad_align.kinds import (
    Clusters,
    Distributed,
    EmnistStyle,
    LocalSteps,
    SgdRegulariser,
    Taylor,
)

SMALL = {
    "dataset": "digits",
    "network": "mlp",
    "hidden": 4,
    "n": 4,
    "num_sampled": 2,
    "examples": 5,
    "rounds": 4,
    "num_seeds": 2,
    "evaluations": 2,
    "eval_examples": 50,
}
PRESETS = {
    "taylor": Preset(
        config=Taylor(),
        about="GradAlign's step against the gradient of f + (beta/2) Var, on a small tanh network",
        cost="seconds",
        expected="errors 1.077e-3 to 4.34e-6 for beta .2 to .0125, a quarter at each halving",
        smoke={"betas": (0.1, 0.05)},
    ),
    "sgd_regulariser": Preset(
        config=SgdRegulariser(),
        about="an epoch of SGD in all orders of five batches, and GradAlign with beta = gamma/2",
        cost="seconds",
        expected="gap to gradient descent 4.6e-4 to 3.0e-5, to GradAlign 1.0e-5 to 1.6e-7",
        smoke={"gammas": (0.01, 0.005)},
    ),
    "local_steps": Preset(
        config=LocalSteps(),
        about="the coefficient c of the variance in FedAvg, FedGA and SCAFFOLD, measured",
        cost="seconds",
        expected="c = beta - gamma (K - 1) / 2; at K = 5, beta = 0: errors 5.1, 2.5, 1.24 %",
        smoke={"gammas": (0.01, 0.005), "steps": (2,), "ratios": (0.0, 1.0)},
    ),
    "clusters": Preset(
        config=Clusters(),
        about="ten Gaussian classes, one per client: GradAlign, FedGA and SCAFFOLD by coefficient",
        cost="1 minute on 2 cores",
        expected="variance falls and accuracy rises with c; FedGA at c = 0 is SCAFFOLD; 1 breaks",
        smoke={
            "betas": (0.0, 0.2),
            "local_betas": (0.0, 0.225),
            "rounds": 4,
            "local_rounds": 3,
            "num_seeds": 2,
            "local_steps": 2,
            "hidden": 4,
            "test_examples": 50,
        },
    ),
    "emnist_style": Preset(
        config=EmnistStyle(),
        about="47 clients with one class each, 10 sampled, MNIST: FedGA, SCAFFOLD, FedProx, SGD",
        cost="6 minutes on 2 cores (--dataset digits --examples 30: 2)",
        expected="FedAvg .878, FedGA .893 to .924, SCAFFOLD .921; beta = .5 is too large (.741)",
        smoke=SMALL | {"methods": ("FedGA",), "betas": (0.0, 0.1), "local_steps": 4},
    ),
    "distributed": Preset(
        config=Distributed(),
        about="large-batch SGD, 20 of 94 iid shards in a round, and GradAlign by beta, on digits",
        cost="1 minute on 2 cores (digits); --dataset mnist",
        expected="SGD .967, GradAlign .971; variance of gradients .31 to .11",
        smoke=SMALL | {"betas": (0.0, 0.4)},
    ),
}
