"""A heat map: every rule under every attack, all attacks of a rule in one program."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import jcollab as jc
from experiments.clipped_gossip.kinds import Attacks
from experiments.clipped_gossip.training import Setting, make_task, train
from experiments.contract import Claim, Context, Row
from jcollab import plots

USEFUL = 0.5  # accuracy below which a model counts as broken


def make_graph(config: Attacks) -> jc.topology.Contested:
    """The graph of the configuration with its byzantine clients.

    Raises:
        ValueError: for an unknown graph, or a torus whose n is no square.
    """
    side = math.isqrt(config.n)
    if config.graph == "malicious ring":
        return jc.topology.malicious_ring(config.n)
    if config.graph == "torus" and side**2 != config.n:
        raise ValueError(f"n must be a square for the torus, got {config.n}")
    graphs = {
        "torus": lambda: jc.topology.torus(side, side),
        "small world": lambda: jc.topology.small_world(config.n, 4, 0.2, seed=config.seed),
        "random regular": lambda: jc.topology.random_regular(config.n, 4, seed=config.seed),
        "complete": lambda: jc.topology.complete(config.n),
    }
    if config.graph not in graphs:
        raise ValueError(
            f"graph must be one of {', '.join(graphs)}, malicious ring, got {config.graph!r}"
        )
    topology = graphs[config.graph]()
    return jc.topology.choose_byzantine(topology, config.byzantine, seed=config.seed)


def run(config: Attacks, context: Context) -> list[Row]:
    """Trains every rule under every attack."""
    task = make_task(config)
    graph = make_graph(config)
    n = graph.topology.n
    rows: list[Row] = []

    def deal(seed: int) -> list[np.ndarray]:
        if config.alpha is None:
            return jc.data.iid(len(task.train.y), n, seed=seed)
        return jc.data.dirichlet(task.train.y, n, config.alpha, seed=seed)

    for rule in config.rules:
        setting = Setting(
            config=config,
            graph=graph,
            rule=rule,
            attacks=config.attacks,
        )
        done = train(task, setting, deal, context, {"graph": config.graph})
        rows += done.rows
        if done.interrupted:
            context.stop.set()
            return rows
    context.save(_figure(config, rows), "attacks")
    return rows


def shown(config: Attacks, rows: list[Row]) -> list[Row]:
    """Mean accuracy of the honest clients, a line for each rule, a column for each attack."""
    table: dict[str, Row] = {}
    for row in rows:
        line = table.setdefault(row["rule"], {"rule": row["rule"]})
        line[row["attack"]] = row["mean_accuracy"]
    return list(table.values())


def claims(config: Attacks, rows: list[Row]) -> list[Claim]:
    """Gossip breaks under some attack; clipping with a small radius under none."""
    found = []
    for rule in config.rules:
        worst = min((row["mean_accuracy"], row["attack"]) for row in rows if row["rule"] == rule)
        said = f"{worst[0]:.3f} under {worst[1]}"
        if rule == "Gossip" and any(attack != "none" for attack in config.attacks):
            claim = "Gossip breaks under some attack (mean accuracy of honest clients)"
            found.append(Claim(claim, f"< {USEFUL}", said, worst[0] < USEFUL))
        elif rule == "SCClip 0.1":
            claim = f"{rule} bears every attack (mean accuracy of honest clients)"
            found.append(Claim(claim, f">= {USEFUL}", said, worst[0] >= USEFUL))
    return found


@plots.style()
def _figure(config: Attacks, rows: list[Row]) -> Any:
    values = np.array(
        [
            [
                next(r["mean_accuracy"] for r in rows if (r["rule"], r["attack"]) == (rule, attack))
                for attack in config.attacks
            ]
            for rule in config.rules
        ]
    )
    fig = plots.figure(figsize=(1.5 + 0.95 * len(config.attacks), 1.2 + 0.5 * len(config.rules)))
    ax = fig.subplots()
    image = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(config.attacks)), config.attacks, rotation=30, ha="right")
    ax.set_yticks(range(len(config.rules)), config.rules)
    ax.grid(visible=False)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            color = "white" if value < 0.6 else "black"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, fontsize=9)
    fig.colorbar(image, label="mean test accuracy of honest clients")
    who = f"{config.byzantine} of {config.n} byzantine"
    ax.set_title(f"{config.dataset}, {config.graph}, {who}", fontsize=11)
    return fig
