"""Presets of the federated comparisons, which belong to no single paper."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.federated.kinds import Comparison, Population

SMOKE = {
    "dataset": "digits",
    "methods": ("FedAvg", "SCAFFOLD"),
    "n": 6,
    "num_sampled": 3,
    "rounds": 4,
    "local_steps": 2,
    "batch_size": 4,
    "hidden": 8,
    "evaluations": 2,
    "num_seeds": 2,
    "learning_rates": (0.1, 0.3),
}
PRESETS = {
    "digits": Preset(
        config=Comparison(),
        about="eight methods on scikit-learn's digits, 8 of 40 clients a round, two labels each",
        cost="3 minutes on 2 cores",
        expected="all methods at .956 to .965",
        smoke=SMOKE,
    ),
    "mnist": Preset(
        config=Comparison(
            dataset="mnist",
            n=100,
            num_sampled=10,
            local_steps=20,
            batch_size=20,
            rounds=200,
            learning_rates=(0.03, 0.1, 0.3),
            hidden=100,
            evaluations=20,
            eval_examples=2000,
            target=0.95,
        ),
        about="the same on MNIST, 10 of 100 clients a round (--dataset fashion_mnist)",
        cost="10 minutes on 2 cores",
        expected=".945 to .965; FedAvg .955, FedGA .958, FedDyn .965",
        smoke=SMOKE,
    ),
    "population": Preset(
        config=Population(),
        about="1,000 sampled clients a round out of 10,000, 100,000 and 1,000,000",
        cost="1 minute on 2 cores",
        expected="a round takes as long in all of them, below 4 GiB in all",
        smoke={"populations": (20, 40), "num_sampled": 4, "rounds": 10, "features": 3},
    ),
}
