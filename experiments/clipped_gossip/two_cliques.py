"""Two cliques with different labels meet in a client that has a byzantine leaf.

ClippedGossip, arXiv 2202.01545, Figure 5.

    python -m experiments clipped_gossip two_cliques

MNIST with the paper's CNN, self-centered clipping at five weights of the byzantine client.
Cost: 1.5 hours on 2 cores.
Expected: from delta_max 0 to .25, accuracy falls from .89 to .19.
"""

import itertools

import jcollab as jc
from experiments.clipped_gossip import _training
from experiments.contract import Claim, Claims, Context, Row, Rows, at_least
from experiments.drawing import draw_curves
from experiments.fields import Count, Positive, Probability

# final accuracy in the authors' logs of the averaged honest model, SCClip 1 under dissensus 1.5
PAPER = {0.0: 0.887, 0.25: 0.776, 0.5: 0.455, 0.75: 0.204, 1.0: 0.194}
METRICS = ("global_accuracy", "clique1_accuracy", "clique2_accuracy")


class Config(_training.Config):
    """Rules, attacks and weights."""

    learning_rate: Positive = 0.001
    rounds: Count = 1500
    evaluations: Count = 5
    rules: tuple[str, ...] = ("SCClip 1",)
    attacks: tuple[str, ...] = ("Dissensus 1.5",)  # others run at the largest strength only
    strengths: tuple[Probability, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)  # 4 delta_max
    clique: int = 5  # clients


PRESETS = {"two_cliques": Config()}
SMOKE = {"two_cliques": _training.SMALL | {"strengths": (0.0, 1.0), "clique": 3}}


def run(config: Config, context: Context) -> Rows:
    """Trains at every strength of the byzantine link, on data sorted by label as in the paper."""
    train, deal = _training.train, jc.data.by_label
    for rule, weight in context.cases(config.rules, config.strengths):
        graph = jc.topology.two_cliques(config.clique, 1, weight)
        delta = jc.topology.delta_max(graph.topology, graph.byzantine)
        attacks = config.attacks[: None if weight == max(config.strengths) else 1]
        trained, curves = train(context, config, graph, deal, rule, attacks, {"delta_max": delta})
        for row in trained:
            known = PAPER.get(weight) if row["attack"] == "Dissensus 1.5" else None
            yield row | {"paper_global": known}
        label = rf"$\delta_{{max}}$ = {delta:g}" + f", {rule}" * (len(config.rules) > 1)
        context.kept[label] = curves[config.attacks[0]]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The more weight the byzantine client has, the worse the honest model."""
    for rule in config.rules:
        own = [r for r in rows if r["rule"] == rule and r["attack"] == config.attacks[0]]
        own = sorted(own, key=lambda row: row["delta_max"])
        if len(own) < 2:
            continue
        accuracy = [row["global_accuracy"] for row in own]
        measured = ", ".join(f"{row['delta_max']:g}: {row['global_accuracy']:.3f}" for row in own)
        claim = f"{rule}: accuracy falls with delta_max"
        falls = all(a >= b - 0.03 for a, b in itertools.pairwise(accuracy))
        yield Claim(claim, "each at most .03 above the one before", measured, falls)
        claim = f"{rule}: accuracy lost from the smallest to the largest delta_max"
        yield at_least(claim, accuracy[0] - accuracy[-1], 0.3, note="0.69")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws curves at every strength."""
    panels = {name.replace("_", " "): context.kept for name in METRICS}
    label = f"test accuracy under {config.attacks[0]}"
    context.save(draw_curves(panels, *METRICS, ylabel=label, ylim=(0, 1.02)), "two_cliques")
