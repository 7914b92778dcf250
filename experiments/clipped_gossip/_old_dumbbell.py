"""Figures 4 and 11: a dumbbell without attackers, whose cliques hold different labels."""

from __future__ import annotations

from typing import Any

import numpy as np

import jcollab as jc
from experiments.clipped_gossip.kinds import Dumbbell
from experiments.clipped_gossip.training import Setting, make_task, train
from experiments.contract import Claim, Context, Row
from jcollab import plots

# final accuracy of clique 1, clique 2 and all in the authors' logs, MNIST
PAPER = {
    ("SCClip 1", "iid", "none"): (0.963, 0.964, 0.964),
    ("Gossip", "iid", "none"): (0.964, 0.964, 0.964),
    ("GM", "iid", "none"): (0.956, 0.956, 0.957),
    ("TM 1", "iid", "none"): (0.954, 0.955, 0.954),
    ("MOZI 0.99", "iid", "none"): (0.960, 0.960, 0.960),
    ("SCClip 1", "noniid", "none"): (0.714, 0.726, 0.938),
    ("Gossip", "noniid", "none"): (0.690, 0.756, 0.937),
    ("GM", "noniid", "none"): (0.507, 0.473, 0.886),
    ("TM 1", "noniid", "none"): (0.507, 0.473, 0.869),
    ("MOZI 0.99", "noniid", "none"): (0.507, 0.472, 0.877),
    ("SCClip 1", "noniid", "bucketing"): (0.713, 0.720, 0.933),
    ("Gossip", "noniid", "bucketing"): (0.719, 0.682, 0.933),
    ("GM", "noniid", "bucketing"): (0.517, 0.478, 0.910),
    ("TM 1", "noniid", "bucketing"): (0.638, 0.643, 0.931),
    ("MOZI 0.99", "noniid", "bucketing"): (0.507, 0.473, 0.871),
    ("SCClip 1", "noniid", "random edge"): (0.766, 0.776, 0.938),
    ("Gossip", "noniid", "random edge"): (0.774, 0.771, 0.936),
    ("GM", "noniid", "random edge"): (0.512, 0.473, 0.907),
    ("TM 1", "noniid", "random edge"): (0.508, 0.473, 0.876),
    ("MOZI 0.99", "noniid", "random edge"): (0.507, 0.472, 0.877),
    ("SCClip 1", "noniid", "both"): (0.785, 0.774, 0.937),
    ("Gossip", "noniid", "both"): (0.765, 0.770, 0.938),
    ("GM", "noniid", "both"): (0.691, 0.695, 0.933),
    ("TM 1", "noniid", "both"): (0.735, 0.744, 0.934),
    ("MOZI 0.99", "noniid", "both"): (0.659, 0.473, 0.632),
}


def split_by_clique(labels: np.ndarray, clique: int, seed: int) -> list[np.ndarray]:
    """The lower half of the labels to the first clique, the upper to the second, iid inside."""
    cut = (int(labels.max()) + 1) // 2
    halves = [np.flatnonzero(labels < cut), np.flatnonzero(labels >= cut)]
    size = min(map(len, halves))  # cliques get the same number
    parts = []
    for half in halves:
        half = np.random.default_rng(seed).permutation(half)[:size]
        parts += [half[part] for part in jc.data.iid(size, clique, seed=seed)]
    return parts


def run(config: Dumbbell, context: Context) -> list[Row]:
    """Trains every rule on every split with every remedy."""
    task = make_task(config)
    rows: list[Row] = []
    curves: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}
    for split in config.splits:
        for remedy in config.remedies if split == "noniid" else ("none",):
            edges = int(remedy in ("random edge", "both"))
            graph = jc.topology.dumbbell(config.clique, 0, edges, seed=config.seed)
            for rule in config.rules:
                setting = Setting(
                    config=config,
                    graph=graph,
                    rule=rule + (" + bucketing" if remedy in ("bucketing", "both") else ""),
                    attacks=("none",),
                    decays=config.decays,
                )

                def deal(seed: int, split: str = split) -> list[np.ndarray]:
                    if split == "iid":
                        return jc.data.iid(len(task.train.y), 2 * config.clique, seed=seed)
                    return split_by_clique(task.train.y, config.clique, seed)

                done = train(task, setting, deal, context, {"split": split, "remedy": remedy})
                known = PAPER.get((rule, split, remedy), (None,) * 3)
                if config.dataset != "mnist":
                    known = (None,) * 3
                (row,) = done.rows
                del row["attack"]
                rows.append(
                    row | {"rule": rule, "paper_clique1": known[0], "paper_global": known[2]}
                )
                curves[rule, split, remedy] = done.curves["none"]
                if done.interrupted:
                    context.stop.set()
                    return rows
    context.save(_figure(config, curves), "dumbbell")
    return rows


def claims(config: Dumbbell, rows: list[Row]) -> list[Claim]:
    """Clipping keeps what gossip shares across the bridge; the other rules cut it."""
    found = []
    clique = {(row["rule"], row["split"], row["remedy"]): row["clique1_accuracy"] for row in rows}
    plain = {rule: clique.get((rule, "noniid", "none")) for rule in config.rules}
    gossip = plain.get("Gossip")
    for rule, value in plain.items():
        if gossip is None or value is None or rule == "Gossip":
            continue
        if rule.startswith("SCClip"):
            claim = f"{rule} lets clique 1 learn from the other as gossip does (noniid)"
            found.append(Claim(claim, "within 0.05", gossip - value, abs(gossip - value) <= 0.05))
        else:
            claim = f"{rule} keeps the cliques apart (noniid, clique 1 behind gossip)"
            found.append(Claim(claim, ">= 0.05", gossip - value, gossip - value >= 0.05))
    return found


@plots.style()
def _figure(config: Dumbbell, curves: dict[tuple[str, str, str], Any]) -> Any:
    columns = list(dict.fromkeys((split, remedy) for _, split, remedy in curves))
    fig = plots.figure(figsize=(3.6 * len(columns), 3.9))
    panels = fig.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for ax, (split, remedy) in zip(panels, columns, strict=True):
        for i, (color, rule) in enumerate(zip(plots.COLORS, config.rules, strict=False)):
            curve = curves[rule, split, remedy]
            values = curve["clique1_accuracy"].T
            ls = plots.DASHES[i % len(plots.DASHES)]
            plots.band(ax, curve["round"], values, color=color, label=rule, ls=ls)
        ax.set(title=split + (f" + {remedy}" if remedy != "none" else ""), ylim=(0, 1.02))
        ax.set_xlabel("communication rounds")
    panels[0].set_ylabel("test accuracy, average of clique 1")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
