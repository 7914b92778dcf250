"""A ring of honest clients with two byzantine leaves each.

ClippedGossip, arXiv 2202.01545, Figure 6.

    python -m experiments clipped_gossip malicious_ring

MNIST with the paper's CNN, four rules under three attacks.
Cost: 2 hours on 2 cores.
Expected: SCClip .90 to .94 under every attack; GM and TM collapse to constant predictors.
"""

import itertools

import jcollab as jc
from experiments.clipped_gossip import _training
from experiments.contract import Claims, Context, Row, Rows, above, at_most, published
from experiments.drawing import kept_curves

CONSTANT = 0.12  # a constant predictor is right in at most 11.35 % on MNIST


class Config(_training.Config):
    """Rules and attacks."""

    rules: tuple[str, ...] = ("SCClip 0.1", "GM", "TM 2", "MOZI 0.4")
    attacks: tuple[str, ...] = ("ALIE 10", "IPM", "Dissensus 1.5")
    majorities: tuple[bool, ...] = (False, True)  # with an honest majority around each client?
    honest: int = 5  # honest clients


PRESETS = {"malicious_ring": Config()}
SMALL = {"rules": ("SCClip 0.1",), "honest": 3, "majorities": (False,)}
SMOKE = {"malicious_ring": _training.SMALL | SMALL}
# curves of the averaged model, a panel for each attack with and without a majority
figures = kept_curves("malicious_ring", "global_accuracy", ylim=(0, 1.02))


def run(config: Config, context: Context) -> Rows:
    """Trains every rule with and without an honest majority."""
    for majority, rule in context.cases(config.majorities, config.rules):
        graph = jc.topology.malicious_ring(config.honest, honest_majority=majority)
        tags = {"honest_majority": majority}
        trained, curves = _training.train(context, config, graph, None, rule, config.attacks, tags)
        paper = "clipped_gossip", "fig6", rule, "with" if majority else "without"
        yield from (row | {"paper": published(*paper, row["attack"])} for row in trained)
        for attack, curve in curves.items():
            title = f"{attack}, {'' if majority else 'no '}honest majority"
            context.kept.setdefault(title, {})[rule] = curve


def claims(config: Config, rows: list[Row]) -> Claims:
    """Self-centered clipping survives all attacks; geometric median and trimmed mean do not."""
    for majority, rule in itertools.product(config.majorities, config.rules):
        own = [r for r in rows if (r["honest_majority"], r["rule"]) == (majority, rule)]
        least = min(row["global_accuracy"] for row in own)
        where = "with" if majority else "without"
        if rule.startswith("SCClip"):
            claim = f"{rule} stays above 88 % under every attack, {where} an honest majority"
            yield above(claim, least, 0.88)
        elif rule.startswith("MOZI"):
            claim = f"{rule} fares well here, as in the authors' logs, {where} a majority"
            yield above(claim, least, 0.88)
        elif rule == "GM" or rule.startswith("TM"):
            claim = f"{rule} collapses under an attack, {where} an honest majority"
            yield at_most(claim, least, CONSTANT)
