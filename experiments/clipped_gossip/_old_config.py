"""Presets of the ClippedGossip experiments."""

from __future__ import annotations

from experiments.clipped_gossip.kinds import (
    Attacks,
    Consensus,
    Dumbbell,
    MaliciousRing,
    TwoCliques,
)
from experiments.contract import Preset

SMALL = {
    "dataset": "digits",
    "network": "mlp",
    "hidden": 8,
    "rounds": 4,
    "evaluations": 2,
    "num_seeds": 1,
    "eval_examples": 100,
    "batch_size": 4,
}
PRESETS = {
    "consensus": Preset(
        config=Consensus(),
        about="Fig. 3 and 8: averaging on a chain under dissensus, 265 cases",
        cost="half a minute on 2 cores",
        expected="SCClip reaches the mean where delta_max is small beside gamma^2; medians never",
        smoke={"deltas": (0.1, 0.4), "betas": (0.267, 0.12), "rounds": 10},
    ),
    "attacks": Preset(
        config=Attacks(),
        about="a heat map: ten rules under eight attacks, a torus of 16 with 3 byzantine clients",
        cost="5 minutes on 2 cores (digits); --dataset mnist",
        expected="gossip breaks under several attacks, SCClip 0.1 under none",
        smoke=SMALL
        | {
            "rules": ("SCClip 0.1", "TM 1 + bucketing"),
            "attacks": ("ALIE 10", "LF"),
            "n": 9,
            "byzantine": 1,
            "alpha": None,
        },
    ),
    "dumbbell": Preset(
        config=Dumbbell(),
        about="Fig. 4: two cliques with different labels and a bridge, MNIST, no attackers",
        cost="5 hours on 2 cores; see quick_dumbbell",
        expected="noniid: clique 1 at .71 with SCClip and gossip, at .51 with GM, TM and MOZI",
        smoke=SMALL
        | {"rules": ("SCClip 1",), "splits": ("noniid",), "remedies": ("both",), "clique": 3},
    ),
    "quick_dumbbell": Preset(
        config=Dumbbell(
            dataset="digits",
            network="mlp",
            rules=("SCClip 3", "Gossip", "GM", "TM 1", "MOZI 0.99"),
            learning_rate=0.05,
            rounds=400,
            num_seeds=2,
            eval_examples=360,
        ),
        about="the same on scikit-learn's digits with an MLP",
        cost="4 minutes on 2 cores",
        expected="the same order of the rules",
        smoke=SMALL
        | {"rules": ("MOZI 0.99",), "splits": ("iid",), "remedies": ("none",), "clique": 3},
    ),
    "two_cliques": Preset(
        config=TwoCliques(),
        about="Fig. 5: two cliques and a byzantine leaf where they meet, MNIST, SCClip",
        cost="1.5 hours on 2 cores",
        expected="from delta_max 0 to .25, accuracy falls from .89 to .19",
        smoke=SMALL | {"strengths": (0.0, 1.0), "clique": 3},
    ),
    "malicious_ring": Preset(
        config=MaliciousRing(),
        about="Fig. 6: a ring whose clients have two byzantine leaves each, MNIST, four rules",
        cost="2 hours on 2 cores",
        expected="SCClip .90 to .94 under every attack; GM and TM collapse to constant predictors",
        smoke=SMALL | {"rules": ("SCClip 0.1",), "honest": 3, "majorities": (False,)},
    ),
    "cifar10": Preset(
        config=Dumbbell(
            dataset="cifar10",
            network="vgg",
            rules=("Gossip", "SCClip 10", "GM", "TM 1", "MOZI 0.4"),
            remedies=("none",),
            learning_rate=0.1,
            decays=(80 / 150, 120 / 150),
            rounds=150 * 39,
            batch_size=64,
            evaluations=30,
            eval_examples=2000,
        ),
        about="Fig. 11: the dumbbell with VGG-11 on CIFAR-10",
        cost="a GPU for hours",
        expected="iid .86 with gossip and SCClip; noniid, all clients' average .73",
        smoke=SMALL | {"network": "mlp", "rules": ("Gossip",), "splits": ("iid",), "clique": 3},
    ),
}
