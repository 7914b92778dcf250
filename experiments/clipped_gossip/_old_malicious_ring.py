"""Figure 6: a ring of honest clients of whom each has two byzantine leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

import jcollab as jc
from experiments.clipped_gossip.kinds import MaliciousRing
from experiments.clipped_gossip.training import Setting, make_task, train
from experiments.contract import Claim, Context, Row
from jcollab import plots

# final accuracy of the averaged honest model in the authors' logs, with ALIE, IPM, dissensus
PAPER = {
    ("SCClip 0.1", False): (0.942, 0.915, 0.901),
    ("GM", False): (0.098, 0.114, 0.098),
    ("MOZI 0.4", False): (0.957, 0.957, 0.936),
    ("TM 2", False): (0.098, 0.114, 0.098),
    ("SCClip 0.1", True): (0.941, 0.912, 0.894),
    ("GM", True): (0.098, 0.114, 0.893),
    ("MOZI 0.4", True): (0.952, 0.952, 0.952),
    ("TM 2", True): (0.114, 0.848, 0.903),
}
PAPER_ATTACKS = ("ALIE 10", "IPM", "Dissensus 1.5")
CONSTANT = 0.12  # a predictor that always says the same is right in at most 11.35 % on MNIST


def run(config: MaliciousRing, context: Context) -> list[Row]:
    """Trains every rule with and without an honest majority, all attacks in one program."""
    task = make_task(config)
    rows: list[Row] = []
    curves: dict[tuple[bool, str, str], dict[str, np.ndarray]] = {}
    for majority in config.majorities:
        graph = jc.topology.malicious_ring(config.honest, honest_majority=majority)
        for rule in config.rules:
            setting = Setting(
                config=config,
                graph=graph,
                rule=rule,
                attacks=config.attacks,
            )

            def deal(seed: int, n: int = graph.topology.n) -> list[np.ndarray]:
                return jc.data.iid(len(task.train.y), n, seed=seed)

            done = train(task, setting, deal, context, {"honest_majority": majority})
            for row in done.rows:
                known = PAPER.get((rule, majority))
                at = PAPER_ATTACKS.index(row["attack"]) if row["attack"] in PAPER_ATTACKS else -1
                rows.append(row | {"paper": known[at] if known and at >= 0 else None})
            curves |= {(majority, rule, attack): c for attack, c in done.curves.items()}
            if done.interrupted:
                context.stop.set()
                return rows
    context.save(_figure(config, curves), "malicious_ring")
    return rows


def claims(config: MaliciousRing, rows: list[Row]) -> list[Claim]:
    """Self-centred clipping survives all attacks; geometric median and trimmed mean do not."""
    found = []
    for majority in config.majorities:
        where = "with" if majority else "without"
        final = {
            (row["rule"], row["attack"]): row["global_accuracy"]
            for row in rows
            if row["honest_majority"] == majority
        }
        for rule in config.rules:
            least = min(final[rule, attack] for attack in config.attacks)
            if rule.startswith("SCClip"):
                claim = f"{rule} stays above 88 % under every attack, {where} an honest majority"
                found.append(Claim(claim, "> 0.88", least, least > 0.88))
            elif rule == "GM" or rule.startswith("TM"):
                claim = f"{rule} collapses under an attack, {where} an honest majority"
                found.append(Claim(claim, f"<= {CONSTANT}", least, least <= CONSTANT))
            elif rule.startswith("MOZI"):
                claim = f"{rule} fares well here, as in the authors' logs, {where} a majority"
                found.append(Claim(claim, "> 0.88", least, least > 0.88))
    return found


@plots.style()
def _figure(config: MaliciousRing, curves: dict[tuple[bool, str, str], Any]) -> Any:
    attacks, majorities = config.attacks, config.majorities
    fig = plots.figure(figsize=(4.2 * len(attacks), 3.4 * len(majorities)))
    panels = fig.subplots(len(majorities), len(attacks), sharex=True, sharey=True, squeeze=False)
    for line, majority in zip(panels, majorities, strict=True):
        for ax, attack in zip(line, attacks, strict=True):
            for i, (color, rule) in enumerate(zip(plots.COLORS, config.rules, strict=False)):
                curve = curves[majority, rule, attack]
                values = curve["global_accuracy"].T
                ls = plots.DASHES[i % len(plots.DASHES)]
                plots.band(ax, curve["round"], values, color=color, label=rule, ls=ls)
            ax.set(title=attack, ylim=(0, 1.02))
        line[0].set_ylabel(f"test accuracy, {'' if majority else 'no '}honest majority")
    for ax in panels[-1]:
        ax.set_xlabel("communication rounds")
    panels[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
