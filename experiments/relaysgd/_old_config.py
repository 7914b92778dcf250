"""Presets of the RelaySGD experiments."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.relaysgd.kinds import (
    ALL_METHODS,
    Cifar10,
    Heterogeneity,
    MeanEstimation,
    Scaling,
    SocialNetwork,
    TunedQuadratics,
    Unreliable,
)

SMOKE = {
    "n": 4,
    "rounds": 6,
    "num_seeds": 2,
    "learning_rates": (1.0, 3.0),
    "hidden": 8,
    "evaluations": 2,
}
SINGLE = {"num_seeds": 1, "learning_rates": (1.0,)}
PRESETS = {
    "quickstart": Preset(
        config=Heterogeneity(),
        about="16 clients on a chain learn handwritten digits; D-PSGD, RelaySGD and all-reduce",
        cost="1 minute on 2 cores",
        expected="worst client at alpha 0.01: RelaySGD about .97, D-PSGD about .7",
        smoke=SMOKE | {"alphas": (0.1,)},
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
        cost="30 minutes on 2 cores a data set (--dataset mnist, digits)",
        expected="from alpha 1 to .01, RelaySGD loses at most 3 points, D-PSGD at least 10",
        smoke=SMOKE
        | SINGLE
        | {
            "dataset": "digits",
            "alphas": (0.1,),
            "methods": ("RelaySGD double trees", "D-PSGD + QGM ring", "D2 ring", "D-PSGD ring"),
            "momenta": (0.9,),
        },
    ),
    "fig2": Preset(
        config=Scaling(),
        about="steps to 1e-6 on quadratics against n, every method tuned, 10 seeds",
        cost="3 minutes on 2 cores",
        expected="RelaySGD, n = 6 to 96: 20.8 to 242.6 steps on the chain, 15.2 to 36.2 on trees",
        smoke={"ns": (3, 4), "num_seeds": 1, "max_steps": 200, "d": 3},
    ),
    "fig3": Preset(
        config=SocialNetwork(),
        about="D-PSGD and exact diffusion on the Davis network, RelaySGD on its 32 trees",
        cost="1 minute on 2 cores",
        expected="error 5.1e-3, 6.1e-4 and 9e-4 to 1.7e-3 after 100 rounds",
        smoke={"num_seeds": 2, "rounds": 260},
    ),
    "fig7": Preset(
        config=TunedQuadratics(),
        about="gossip, D2, gradient tracking and RelaySGD tuned on 32 clients in a circle, noise",
        cost="1 minute on 2 cores",
        expected="RelaySGD 51, 51, 54 steps at learning rates .869, .869, .898",
        smoke={"n": 4, "d": 3, "rounds": 20, "max_steps": 100},
    ),
    "fig8": Preset(
        config=TunedQuadratics(figure="fig8", zetas=(0.0, 0.01, 0.1), noise=0.0, rounds=400),
        about="D2, gradient tracking and RelaySGD tuned on a star of 32 clients",
        cost="half a minute on 2 cores",
        expected="RelaySGD 8 steps, D2 65, gradient tracking 9 to 295",
        smoke={"n": 4, "d": 3, "rounds": 20, "max_steps": 100},
    ),
    "fig9": Preset(
        config=MeanEstimation(),
        about="mean estimation from a stream, RelaySum against gossip, 8 to 128 clients",
        cost="half a minute on 2 cores",
        expected="RelaySum reaches 1/(nT), gossip does not",
        smoke={"ns": (3, 4), "rounds": 20, "num_seeds": 2},
    ),
    "fig10": Preset(
        config=TunedQuadratics(figure="fig10", zetas=(0.0, 0.01, 1.0), noise=0.0, rounds=1000),
        about="gossip, RelaySGD/Grad and RelaySGD tuned on a chain of 32 clients",
        cost="half a minute on 2 cores",
        expected="RelaySGD 51, 51, 50 steps, RelaySGD/Grad 134, 132, 282",
        smoke={"n": 4, "d": 3, "rounds": 20, "max_steps": 100},
    ),
    "unreliable": Preset(
        config=Unreliable(),
        about="0, 1 and 10 % of messages lost, digits at Dirichlet(0.01), five methods",
        cost="5 minutes on 2 cores",
        expected="RelaySGD with the refreshed fill loses at most 1 point; initial fill much worse",
        smoke=SMOKE | SINGLE | {"losses": (0.1,)},
    ),
    "cifar10": Preset(
        config=Cifar10(),
        about="Table 2: VGG-11 on CIFAR-10, 16 clients, 200 epochs, all methods, 3 seeds",
        cost="GPU-days; needs CIFAR-10 in JCOLLAB_DATA",
        expected="worst client at alpha .01 with momentum: RelaySGD 89.1, QGM 63.3, D2 61.0 %",
        smoke={
            "dataset": "digits",
            "methods": ("RelaySGD chain",),
            "momenta": (0.9,),
            "alphas": (1.0,),
            "n": 2,
            "epochs": 1,
            "batch_size": 4,
            "width": 4,
            "num_seeds": 1,
            "examples": 16,
            "evaluations": 1,
            "eval_examples": 8,
        },
    ),
    "cifar10_reduced": Preset(
        config=Cifar10(
            methods=("all-reduce complete", "RelaySGD chain", "D-PSGD ring"),
            momenta=(0.0,),
            alphas=(0.01,),
            n=8,
            epochs=2,
            learning_rate=0.1,
            width=8,
            num_seeds=1,
            examples=4000,
            evaluations=2,
            eval_examples=500,
        ),
        about="Table 2's set-up cut down to 8 clients, 4000 images, a narrow VGG-11 and 2 epochs",
        cost="3 minutes on 2 cores; needs CIFAR-10 in JCOLLAB_DATA",
        expected="that it runs: no accuracy of the paper is to be expected at this size",
        smoke={
            "dataset": "digits",
            "methods": ("D2 ring",),
            "n": 4,
            "epochs": 1,
            "batch_size": 4,
            "width": 4,
            "examples": 16,
            "evaluations": 1,
            "eval_examples": 8,
        },
    ),
}
