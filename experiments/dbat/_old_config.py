"""Presets of the D-BAT experiments."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.dbat.kinds import Collaborative, Images, Theorem, Toy2d, Uncertainty

SMALL = {
    "examples": 600,
    "rounds": (2, 2),
    "batch_size": 4,
    "hidden": (4,),
    "channels": (2, 2),
    "network": "mlp",
    "shrink": 1,
    "num_seeds": 1,
}
PRESETS = {
    "digits": Preset(
        config=Images(
            problem="digits",
            network="mlp",
            rounds=(300, 600),
            batch_size=64,
            hidden=(64,),
            learning_rates=(1e-3, 1e-3),
        ),
        about="scikit-learn's digits: 0 or 1 over 3 or 8, tops are the shortcut",
        cost="1 minute on 2 cores, no download",
        expected="tops shuffled: D-BAT's second member well above the first",
        smoke=SMALL | {"examples": None},
    ),
    "toy2d": Preset(
        config=Toy2d(),
        about="slabs in the plane, unlabelled points by search: decision boundaries",
        cost="1 minute on 2 cores, no download",
        expected="x flipped: first member 0 %, second 99 % (recorded 99.3 and 98.5)",
        smoke={"points": 200, "rounds": (3, 3), "grid": 11, "num_seeds": 1, "hidden": 4},
    ),
    "theorem": Preset(
        config=Theorem(),
        about="theorem 3.1: a table of four cells, two of them labelled",
        cost="seconds, no download",
        expected="P(label 1) in 00, 01, 10, 11: .0002, .9998, .0002, .9998",
        smoke={"rounds": 3, "num_seeds": 1},
    ),
    "dominoes": Preset(
        config=Images(batch_size=128, shrink=2),
        about="MNIST over Fashion-MNIST, both unlabelled sets; ERM, deep ensemble, D-BAT",
        cost="4 minutes on 2 cores, MNIST and Fashion-MNIST in JCOLLAB_DATA",
        expected="MNIST shuffled: ERM 52.9 %, D-BAT 94.8 % (same set) and 89.0 % (different)",
        smoke=SMALL | {"problem": "digits", "examples": None},
    ),
    "colored_mnist": Preset(
        config=Images(
            problem="colored_mnist",
            alphas=(2.0, 2.0),
            rounds=(1477, 1477),
            learning_rates=(5e-3, 5e-3),
            optimizers=("adamw", "sgd"),
            variance=0.333,
        ),
        about="MNIST in colours that tell the digit, and then do not",
        cost="50 minutes on 2 cores, MNIST in JCOLLAB_DATA",
        expected="random colours: ERM 12.3 % and 27.1 %, D-BAT 90.2 % and 90.1 %",
        smoke=SMALL | {"problem": "digits", "examples": None},
    ),
    "uncertainty": Preset(
        config=Uncertainty(),
        about="MNIST 0/1: entropy along lines, AUROC of other digits; MC dropout, deep ensemble",
        cost="5 minutes on 2 cores, MNIST in JCOLLAB_DATA",
        expected="D-BAT alone is unsure outside of t in [0, 1] (.23; ln 2 asked), accuracy 99 %",
        smoke={
            "dataset": "digits",
            "rounds": 2,
            "batch_size": 4,
            "hidden": (4,),
            "draws": 2,
            "pairs": 2,
            "steps": 5,
            "num_seeds": 1,
        },
    ),
    "collaborative": Preset(
        config=Collaborative(problem="digits", network="mlp", batch_size=64, hidden=(64,)),
        about="4 clients share predictions on public dominoes; two disagree with the other two",
        cost="1 minute on 2 cores, no download",
        expected="tops shuffled: those who disagree 20 points ahead of those who learn alone",
        smoke={name: value for name, value in SMALL.items() if name != "rounds"}
        | {"rounds": 2, "warmup": 1, "clients": 2, "examples": None},
    ),
    "cifar_dominoes": Preset(
        config=Images(
            problem="cifar_dominoes",
            alphas=(0.1, 1.0),
            rounds=(1350, 1350),
            learning_rates=(1e-3, 1e-3),
            channels=(32, 56),
            hidden=(512, 256),
        ),
        about="MNIST over CIFAR-10 (car or truck)",
        cost="a GPU, MNIST and CIFAR-10 in JCOLLAB_DATA",
        expected="MNIST shuffled: ERM 50.0 %, D-BAT 73.3 % and 58.0 %",
        smoke=SMALL | {"problem": "digits", "examples": None},
    ),
}
