"""Two latent groups of clients that disagree about some labels: how much should they share?"""

from __future__ import annotations

import itertools

import numpy as np

from experiments.contract import Claim, Context, Row
from experiments.optimal_averaging.figures import levels_figure, scatter_figure
from experiments.optimal_averaging.kinds import AVERAGED, Models
from experiments.optimal_averaging.methods import Groups, Trial, make_groups

SUMMARY = ("accuracy", "majority", "minority", "worst_client", "losers", "weight")


def run(config: Models, context: Context) -> list[Row]:
    """Rows of kind ``method`` (means over seeds), ``level`` (a weight for all) and ``client``."""
    rows: list[Row] = []
    trial = Trial(config)
    tasks = len(config.shifted) * config.num_seeds
    bar = context.progress.add_task("models", total=tasks)
    for shifted in config.shifted:
        outcomes = []
        for seed in range(config.seed, config.seed + config.num_seeds):
            if context.stop.is_set():
                return rows
            groups = make_groups(config, trial.train, trial.test, shifted, seed)
            outcomes.append((groups, trial(groups, seed)))
            context.progress.advance(bar)
        fresh = _rows(config, shifted, outcomes)
        for row in fresh:
            context.log().write(row)
        rows += fresh
    context.save(levels_figure(config, rows), "levels")
    middle = config.shifted[len(config.shifted) // 2]
    context.save(scatter_figure(config, rows, middle), "clients")
    return rows


def _rows(config: Models, shifted: int, outcomes: list[tuple[Groups, dict]]) -> list[Row]:
    base: Row = {"shifted": shifted}
    rows = []
    for name in (*AVERAGED, *config.trained):
        seeds = []
        for groups, outcome in outcomes:
            accuracy, alone = outcome["accuracy"][name], outcome["accuracy"]["local"]
            parts = {"majority": ~groups.minority, "minority": groups.minority}
            told = {"accuracy": accuracy.mean()}
            told |= {part: accuracy[chosen].mean() for part, chosen in parts.items()}
            told |= {"worst_client": accuracy.min(), "losers": (accuracy < alone).sum()}
            if (weight := outcome["weight"].get(name)) is not None:
                told["weight"] = weight.mean()
                told |= {f"{part}_weight": weight[chosen].mean() for part, chosen in parts.items()}
            seeds.append(told)
        means = {key: float(np.mean([seed[key] for seed in seeds])) for key in seeds[0]}
        spread = float(np.ptp([seed["accuracy"] for seed in seeds]))
        rows.append(base | {"kind": "method", "method": name} | means | {"spread": spread})
    for i, weight in enumerate(np.linspace(0, 1, config.num_weights)):
        level = {"kind": "level", "weight": float(weight)}
        for part, chosen in (("majority", False), ("minority", True)):
            level[part] = float(
                np.mean([o["levels"][i][g.minority == chosen].mean() for g, o in outcomes])
            )
        rows.append(base | level)
    for seed, (groups, outcome) in enumerate(outcomes):
        for i in range(config.n):
            client: Row = {"kind": "client", "seed": config.seed + seed, "client": i}
            client |= {"minority": bool(groups.minority[i]), "examples": int(groups.sizes[i])}
            client |= {name: float(told[i]) for name, told in outcome["accuracy"].items()}
            rows.append(base | client)
    return rows


def shown(config: Models, rows: list[Row]) -> list[Row]:
    """The methods; clients and levels are in the figures."""
    return [
        {key: row.get(key) for key in ("shifted", "method", *SUMMARY, "spread")}
        for row in rows
        if row["kind"] == "method"
    ]


def claims(config: Models, rows: list[Row]) -> list[Claim]:
    """What a level of collaboration of one's own is worth."""
    by = {(row["shifted"], row["method"]): row for row in rows if row["kind"] == "method"}
    found: list[Claim] = []

    def least(method: str, others: tuple[str, ...], part: str = "accuracy") -> float:
        return min(
            by[s, method][part] - max(by[s, o][part] for o in others) for s in config.shifted
        )

    both = least("oracle", ("local", "global"))
    claim = "the oracle's weights beat learning alone and the common mean (accuracy, least margin)"
    found.append(Claim(claim, "> 0", both, both > 0))
    for rule in ("plug-in", "plug-in shared"):
        margin = least(rule, ("local",))
        claim = f"the {rule} weights beat learning alone at every level (accuracy, least margin)"
        found.append(Claim(claim, "> 0", margin, margin > 0))
    most = max(config.shifted)
    if most:
        lost = by[most, "global"]["minority"] - by[most, "local"]["minority"]
        claim = f"the common mean harms the minority, {most} classes shifted (accuracy)"
        found.append(Claim(claim, "< 0", lost, lost < 0))
        gain = by[most, "plug-in"]["minority"] - by[most, "local"]["minority"]
        claim = f"plug-in weights do not harm the minority, {most} classes shifted (accuracy)"
        found.append(Claim(claim, ">= 0", gain, gain >= 0))
        weights = [by[s, "oracle"]["weight"] for s in sorted(config.shifted)]
        falls = all(a > b for a, b in itertools.pairwise(weights))
        said = ", ".join(f"{w:.2f}" for w in weights)
        claim = "the more classes are shifted, the less the oracle takes of others"
        found.append(Claim(claim, "falling", said, falls))
        weights = [by[s, "plug-in"]["weight"] for s in sorted(config.shifted)]
        falls = all(a > b for a, b in itertools.pairwise(weights))
        said = ", ".join(f"{w:.2f}" for w in weights)
        claim = "the more classes are shifted, the less the plug-in rule takes of others"
        found.append(Claim(claim, "falling", said, falls))
    return found
