"""A heat map: every rule under every attack.

No figure of the ClippedGossip paper, arXiv 2202.01545; its attacks and more.

    python -m experiments clipped_gossip attacks

A heat map: ten rules under eight attacks, a torus of 16 with 3 byzantine clients.
Cost: 5 minutes on 2 cores (digits); --dataset mnist.
Expected: gossip breaks under several attacks, SCClip 0.1 under none.

    python -m experiments clipped_gossip attacks_noniid

The same with labels Dirichlet(0.1), without and under the first three attacks.
Cost: 3 minutes on 2 cores.
Expected: adaptive clipping learns as gossip does, UBAR and Krum mostly alone.
"""

import functools
import math
from typing import Annotated, Any

import numpy as np

import jcollab as jc
from experiments.clipped_gossip import _training
from experiments.contract import (
    Claim,
    Claims,
    Context,
    Row,
    Rows,
    at_least,
    at_most,
    pivoted,
)
from experiments.fields import Bound, Count, Positive
from jcollab import plots

USEFUL = 0.5  # accuracy below which a model counts as broken
GRAPHS = {  # functions of n and a seed
    "torus": lambda n, seed: jc.topology.torus(math.isqrt(n), math.isqrt(n)),
    "small world": lambda n, seed: jc.topology.small_world(n, 4, 0.2, seed=seed),
    "random regular": lambda n, seed: jc.topology.random_regular(n, 4, seed=seed),
    "complete": lambda n, seed: jc.topology.complete(n),
    "malicious ring": lambda n, seed: jc.topology.malicious_ring(n),
}


class Config(_training.Config):
    """Graph, rules and attacks."""

    dataset: str = "digits"
    network: _training.Network = "mlp"
    learning_rate: Positive = 0.1
    rounds: Count = 300
    num_seeds: Count = 3
    evaluations: Count = 5
    eval_examples: Count = 360
    # or small world, random regular, complete, malicious ring
    graph: Annotated[str, Bound(among=GRAPHS)] = "torus"
    n: Count = 16  # clients, a square for the torus; the honest ones of a malicious ring
    byzantine: Annotated[int, Bound(at_least=0, below="n")] = (
        3  # byzantine clients among the n; a malicious ring has its own number
    )
    rules: tuple[str, ...] = (
        "Gossip", "SCClip 0.1", "SCClip", "CP 1", "CM", "TM 1", "GM", "Krum 1", "MOZI 0.4",
        "TM 1 + bucketing",
    )  # fmt: skip
    attacks: tuple[str, ...] = (
        "none", "Dissensus 1.5", "ALIE 10", "IPM", "BF", "LF", "Noise 1", "Mimic",
    )  # fmt: skip
    alpha: float | None = 1.0  # Dirichlet concentration of the labels; None for iid

    def _check(self) -> None:
        if self.graph == "torus" and math.isqrt(self.n) ** 2 != self.n:
            raise ValueError(f"n must be a square for the torus, got {self.n}")


NONIID = 0.1  # Dirichlet concentration from which on rules are compared with gossip
PRESETS = {
    "attacks": Config(),
    "attacks_noniid": Config(alpha=NONIID, attacks=("none", "Dissensus 1.5", "ALIE 10", "IPM")),
}
SMALL = {"rules": ("SCClip 0.1", "TM 1 + bucketing"), "attacks": ("ALIE 10", "LF"), "n": 9}
SMALL |= _training.SMALL | {"byzantine": 1, "alpha": None}
SMOKE = dict.fromkeys(PRESETS, SMALL)
# mean accuracy of the honest clients, a line for each rule, a column for each attack
shown = pivoted("rule", "attack", "mean_accuracy")


def run(config: Config, context: Context) -> Rows:
    """Trains every rule under every attack."""
    graph: Any = GRAPHS[config.graph](config.n, config.seed)
    if config.graph != "malicious ring":
        graph = jc.topology.choose_byzantine(graph, config.byzantine, seed=config.seed)
    dirichlet = functools.partial(jc.data.dirichlet, alpha=config.alpha)
    deal = None if config.alpha is None else dirichlet
    for rule in context.cases(config.rules):
        tags = {"graph": config.graph}
        yield from _training.train(context, config, graph, deal, rule, config.attacks, tags)[0]


def _accuracy(row: Row) -> float:
    """Returns the mean accuracy; that of a model with values that are not finite is 0."""
    return row["mean_accuracy"] or 0.0


def claims(config: Config, rows: list[Row]) -> Claims:
    """Gossip breaks under an attack; clipping with a small radius under none."""
    for rule in config.rules:
        worst, attack = min((_accuracy(r), r["attack"]) for r in rows if r["rule"] == rule)
        measured = f"{worst:.3f} under {attack}"
        if rule == "Gossip" and any(attack != "none" for attack in config.attacks):
            claim = "Gossip breaks under some attack (mean accuracy of honest clients)"
            yield Claim(claim, f"< {USEFUL}", measured, worst < USEFUL)
        elif rule == "SCClip 0.1":
            claim = f"{rule} bears every attack (mean accuracy of honest clients)"
            yield Claim(claim, f">= {USEFUL}", measured, worst >= USEFUL)
    if config.alpha is not None and config.alpha <= NONIID:
        yield from _noniid_claims(config, rows)


def _noniid_claims(config: Config, rows: list[Row]) -> Claims:
    """Rules that discard neighbors lose accuracy on heterogeneous data; clipping does not."""
    by_case = {(row["rule"], row["attack"]): _accuracy(row) for row in rows}
    gossip = by_case.get(("Gossip", "none"))
    for rule in config.rules if gossip is not None else ():
        behind = gossip - by_case[rule, "none"]
        if rule.startswith("SCClip"):
            yield at_most(f"{rule} without attackers: accuracy behind gossip", behind, 0.05)
        elif rule != "Gossip":
            yield at_least(f"{rule} without attackers: accuracy behind gossip", behind, 0.05)
    for attack in config.attacks:
        if attack != "none" and "SCClip 0.1" in config.rules:
            best, name = max((v, rule) for (rule, of), v in by_case.items() if of == attack)
            own = by_case["SCClip 0.1", attack]
            measured = f"{own:.3f}, best {best:.3f} ({name})"
            claim = f"SCClip 0.1 is the most accurate rule under {attack}"
            yield Claim(claim, "within 0.01 of the best", measured, own >= best - 0.01)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """The heat map."""
    shape = len(config.rules), len(config.attacks)
    values = np.reshape([_accuracy(row) for row in rows], shape)
    fig, ax = plots.subplots(figsize=(1.5 + 0.95 * shape[1], 1.2 + 0.5 * shape[0]))
    image = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(shape[1]), config.attacks, rotation=30, ha="right")
    ax.set_yticks(range(shape[0]), config.rules)
    ax.grid(visible=False)
    for (i, j), value in np.ndenumerate(values):
        color = "white" if value < 0.6 else "black"
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, fontsize=9)
    fig.colorbar(image, label="mean test accuracy of honest clients")
    split = "iid" if config.alpha is None else f"Dirichlet({config.alpha:g})"
    title = f"{config.dataset}, {split}, {config.graph}"
    ax.set_title(f"{title}, {config.byzantine} of {config.n} byzantine")
    context.save(fig, "attacks")
