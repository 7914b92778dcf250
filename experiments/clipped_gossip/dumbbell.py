"""A dumbbell without attackers, whose cliques have different labels.

ClippedGossip, arXiv 2202.01545, Figures 4 and 11.

    python -m experiments clipped_gossip dumbbell

Fig. 4: two cliques with different labels and a bridge, MNIST, no attackers.
Cost: 5 hours on 2 cores; see quick_dumbbell.
Expected: noniid: clique 1 at .71 with SCClip and gossip, at .51 with GM, TM and MOZI.

    python -m experiments clipped_gossip quick_dumbbell

The same on scikit-learn's digits with an MLP.
Cost: 4 minutes on 2 cores.
Expected: the same order of the rules.

    python -m experiments clipped_gossip cifar10

Fig. 11: the dumbbell with VGG-11 on CIFAR-10.
Cost: a GPU for hours.
Expected: iid .86 with gossip and SCClip; noniid, all clients' average .73.
"""

from typing import Literal

import numpy as np

import jcollab as jc
from experiments.clipped_gossip import _training
from experiments.contract import Claim, Claims, Context, Row, Rows, at_least, published
from experiments.drawing import kept_curves

RULES = ("SCClip 1", "Gossip", "GM", "TM 1", "MOZI 0.99")
Remedy = Literal["none", "bucketing", "random edge", "both"]  # of heterogeneity


class Config(_training.Config):
    """Rules, splits, and remedies for heterogeneity."""

    rules: tuple[str, ...] = RULES
    # noniid: the lower half of the labels in one clique, the upper in the other
    splits: tuple[Literal["iid", "noniid"], ...] = ("iid", "noniid")
    remedies: tuple[Remedy, ...] = ("none", "bucketing", "random edge", "both")
    clique: int = 10  # clients
    decays: tuple[float, ...] = ()  # when the learning rate is divided by 10, fractions of rounds


PRESETS = {
    "dumbbell": Config(),
    "quick_dumbbell": Config(
        dataset="digits",
        network="mlp",
        rules=("SCClip 3", "Gossip", "GM", "TM 1", "MOZI 0.99"),
        learning_rate=0.05,
        rounds=400,
        num_seeds=2,
        eval_examples=360,
    ),
    "cifar10": Config(
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
}
SMALL = _training.SMALL | {"clique": 3}
SMOKE = {
    "dumbbell": SMALL | {"rules": ("SCClip 1",), "splits": ("noniid",), "remedies": ("both",)},
    "quick_dumbbell": SMALL | {"rules": ("MOZI 0.99",), "splits": ("iid",), "remedies": ("none",)},
    "cifar10": SMALL | {"rules": ("Gossip",), "splits": ("iid",)},
}
# curves of clique 1, a panel for each split and remedy
figures = kept_curves("dumbbell", "clique1_accuracy", ylim=(0, 1.02))


def split_by_clique(labels: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """Gives each clique half of the labels; the split within a clique is iid."""
    cut = (int(labels.max()) + 1) // 2
    halves = [np.flatnonzero(labels < cut), np.flatnonzero(labels >= cut)]
    size = min(map(len, halves))  # cliques have equal sizes
    parts = []
    for half in halves:
        half = np.random.default_rng(seed).permutation(half)[:size]
        parts += [half[part] for part in jc.data.iid(size, n // 2, seed=seed)]
    return parts


def run(config: Config, context: Context) -> Rows:
    """Trains every rule on every split with every remedy."""
    remedies = {"iid": ("none",), "noniid": config.remedies}
    places = [(split, remedy) for split in config.splits for remedy in remedies[split]]
    for (split, remedy), rule in context.cases(places, config.rules):
        edges = int(remedy in ("random edge", "both"))
        graph = jc.topology.dumbbell(config.clique, 0, edges, seed=config.seed)
        tags = {"split": split, "remedy": remedy, "topology": f"dumbbell, {edges} random edges"}
        context.graph(tags["topology"], graph.topology)
        deal = None if split == "iid" else split_by_clique
        used = rule + " + bucketing" * (remedy in ("bucketing", "both"))
        (row,), curves = _training.train(context, config, graph, deal, used, ("none",), tags)
        del row["attack"], row["topology"]
        for column, clients in (("paper_clique1", "clique 1"), ("paper_global", "all")):
            known = published("clipped_gossip", "fig4", clients, split, remedy, rule)
            row[column] = known if config.dataset == "mnist" else None
        yield row | {"rule": rule}
        title = split + f" + {remedy}" * (remedy != "none")
        context.kept.setdefault(title, {})[rule] = curves["none"]


def claims(config: Config, rows: list[Row]) -> Claims:
    """Clipping passes information over the bridge as gossip does; the other rules do not."""
    own = [row for row in rows if (row["split"], row["remedy"]) == ("noniid", "none")]
    clique = {row["rule"]: row["clique1_accuracy"] for row in own}
    gossip = clique.pop("Gossip", None)
    for rule, value in clique.items() if gossip is not None else ():
        behind = gossip - value
        if rule.startswith("SCClip"):
            claim = f"{rule} lets clique 1 learn from the other as gossip does (noniid)"
            yield Claim(claim, "within 0.05", behind, abs(behind) <= 0.05)
        else:
            claim = f"{rule} keeps the cliques apart (noniid, clique 1 behind gossip)"
            yield at_least(claim, behind, 0.05)
