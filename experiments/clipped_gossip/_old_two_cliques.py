"""Figure 5: two cliques with different labels meet in a client that has a byzantine leaf."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import jcollab as jc
from experiments.clipped_gossip.kinds import TwoCliques
from experiments.clipped_gossip.training import Setting, make_task, train
from experiments.contract import Claim, Context, Row
from jcollab import plots

# final accuracy in the authors' logs of the averaged honest model and of the cliques' averages,
# for SCClip 1 under dissensus 1.5 at delta_max = 0, 1/16, ..., 1/4
PAPER = {
    0.0: (0.887, 0.746, 0.685),
    0.25: (0.776, 0.543, 0.446),
    0.5: (0.455, 0.481, 0.407),
    0.75: (0.204, 0.479, 0.392),
    1.0: (0.194, 0.484, 0.413),
}


def run(config: TwoCliques, context: Context) -> list[Row]:
    """Trains at every strength of the byzantine link."""
    task = make_task(config)
    rows: list[Row] = []
    curves: dict[tuple[str, str, float], dict[str, np.ndarray]] = {}
    for rule in config.rules:
        for strength in config.strengths:
            graph = jc.topology.two_cliques(config.clique, 1, strength)
            last = strength == max(config.strengths)
            setting = Setting(
                config=config,
                graph=graph,
                rule=rule,
                attacks=config.attacks if last else config.attacks[:1],
            )

            def deal(seed: int, n: int = graph.topology.n) -> list[np.ndarray]:
                return jc.data.by_label(task.train.y, n)  # sorted by label, as in the paper

            delta = jc.topology.delta_max(graph.topology, graph.byzantine)
            done = train(task, setting, deal, context, {"delta_max": delta})
            for row in done.rows:
                known = PAPER.get(strength) if row["attack"] == "Dissensus 1.5" else None
                rows.append(row | {"paper_global": known[0] if known else None})
            curves |= {(rule, attack, delta): curve for attack, curve in done.curves.items()}
            if done.interrupted:
                context.stop.set()
                return rows
    context.save(_figure(config, curves), "two_cliques")
    return rows


def claims(config: TwoCliques, rows: list[Row]) -> list[Claim]:
    """The more weight the byzantine client has, the worse the honest model."""
    found = []
    for rule in config.rules:
        own = [r for r in rows if r["rule"] == rule and r["attack"] == config.attacks[0]]
        own = sorted(own, key=lambda row: row["delta_max"])
        if len(own) < 2:
            continue
        accuracy = [row["global_accuracy"] for row in own]
        said = ", ".join(f"{row['delta_max']:g}: {row['global_accuracy']:.3f}" for row in own)
        lost = accuracy[0] - accuracy[-1]
        claim = f"{rule}: accuracy falls with delta_max"
        falls = all(a >= b - 0.03 for a, b in itertools.pairwise(accuracy))
        found.append(Claim(claim, "each at most .03 above the one before", said, falls))
        claim = f"{rule}: accuracy lost from the smallest to the largest delta_max"
        found.append(Claim(claim, ">= 0.3 (0.69)", lost, lost >= 0.3))
    return found


@plots.style()
def _figure(config: TwoCliques, curves: dict[tuple[str, str, float], Any]) -> Any:
    fig = plots.figure(figsize=(12.5, 4.0))
    names = {
        "global_accuracy": "averaged honest model",
        "clique1_accuracy": "average of clique 1",
        "clique2_accuracy": "average of clique 2",
    }
    panels = fig.subplots(1, 3, sharey=True)
    shades = dict(zip(config.rules, ("-", "--", ":"), strict=False))
    for ax, (name, title) in zip(panels, names.items(), strict=True):
        deltas = sorted({delta for *_, delta in curves})
        for color, delta in zip(plots.COLORS, deltas, strict=False):
            for rule, ls in shades.items():
                curve = curves[rule, config.attacks[0], delta]
                label = rf"$\delta_{{max}}$ = {delta:g}"
                label += f", {rule}" if len(shades) > 1 else ""
                plots.band(ax, curve["round"], curve[name].T, color=color, label=label, ls=ls)
        ax.set(title=title, xlabel="communication rounds", ylim=(0, 1.02))
    panels[0].set_ylabel(f"test accuracy under {config.attacks[0]}")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
