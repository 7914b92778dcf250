"""ERM, deep ensembles and D-BAT where the shortcut of the training data breaks."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.dbat import problems, training
from experiments.dbat.kinds import Images, Pictures
from experiments.dbat.models import LeNet
from jcollab import ensembles, plots
from jcollab.objectives.disagreement import EPSILON

# accuracy in per cent with the shortcut broken: at most with ERM, at least with D-BAT by pool
BOUNDS = {
    "digits": (60.0, {"test": 85.0, "different": 75.0}),
    "dominoes": (56.0, {"test": 92.0, "different": 85.0}),
    "cifar_dominoes": (52.0, {"test": 70.0, "different": 55.0}),
    "colored_mnist": (20.0, {"test": 85.0, "different": 85.0}),
}
PAPER = {
    "dominoes": ("52.9", {"test": "94.8", "different": "89.0"}),
    "cifar_dominoes": ("50.0", {"test": "73.3", "different": "58.0"}),
    "colored_mnist": ("12.3", {"test": "90.2", "different": "90.1"}),
}


def run(config: Images, context: Context) -> list[Row]:
    """One row for each unlabelled set, seed, method and member (or their ensemble)."""
    rows: list[Row] = []
    logs: dict[str, Any] = {}
    for problem in problems.make(config).values():
        names = list(problem.pools)
        alphas = dict(zip(config.pools, config.alphas, strict=True))
        conditions = [training.Condition("D-BAT", alphas[name], name) for name in names]
        if "deep ensemble" in config.methods:
            conditions.append(training.Condition("deep ensemble", 0.0, names[0]))
        seeds = [config.seed + i for i in range(config.num_seeds)]
        outcome = training.train(plan(config, problem), conditions, seeds, context)
        if not outcome.finished:
            return rows
        for condition in conditions:
            label = training.label_of(condition)
            said = _rows(config, problem, outcome.params[label], seeds)
            # without agreement, the unlabelled set matters only where it comes with its own data
            tags = {"unlabelled": condition.pool if condition.alpha or len(names) == 1 else "none"}
            rows += [tags | {"method": condition.name} | row for row in said]
            logs[f"{label}, {names[0]}" if len(names) == 1 else label] = outcome.logs[label]
    context.save(_figure(config, rows, logs), config.problem)
    return rows


def plan(config: Images, problem: problems.Problem) -> training.Plan:
    """What is trained."""
    model = network(config, problem.outputs)

    def optimizer(stage: int) -> optax.GradientTransformation:
        rate = config.learning_rates[stage]
        if config.optimizers[stage] == "sgd":
            return optax.sgd(rate, momentum=0.9)
        return optax.adamw(rate, weight_decay=config.weight_decay)

    return training.Plan(
        start=lambda key: model.init(key, problem.train.x[:1]),
        predict=lambda params, x: model.apply(params, x),
        x=problem.train.x,
        y=problem.train.y,
        pools=problem.pools,
        members=config.members,
        rounds=(config.rounds[0], config.rounds[1]),
        batch_size=config.batch_size,
        optimizers=(optimizer(0), optimizer(1)),
        options={
            "anchor": config.anchor,
            "epsilon": EPSILON if config.logarithm == "released" else None,
        },
    )


def network(config: Pictures, outputs: int) -> Any:
    """The network of the configuration."""
    if config.network == "mlp":
        return jc.models.MLP(outputs, config.hidden)
    return LeNet(outputs, config.channels, config.hidden, variance=config.variance)


def _rows(config: Images, problem: problems.Problem, params: Any, seeds: list[int]) -> list[Row]:
    logits_of = ensembles.member_logits(network(config, problem.outputs).apply)
    rows = []
    for i, seed in enumerate(seeds):
        models = jax.tree.map(lambda leaf: leaf[i], params)  # noqa: B023
        measured: dict[str, Any] = {}
        for name, test in problem.tests.items():
            members, together = ensembles.accuracies(logits_of(models, test.x), test.y)
            measured[name] = 100 * np.append(members, together)
        names = [str(m + 1) for m in range(config.members)] + ["mean"]
        rows += [
            {"seed": seed, "member": member} | {k: float(v[m]) for k, v in measured.items()}
            for m, member in enumerate(names)
        ]
    return rows


def shown(config: Images, rows: list[Row]) -> list[Row]:
    """Means over seeds, with the standard deviation of the headline."""
    table = []
    for key in dict.fromkeys((r["unlabelled"], r["method"], r["member"]) for r in rows):
        own = [r for r in rows if (r["unlabelled"], r["method"], r["member"]) == key]
        line: Row = dict(zip(("unlabelled", "method", "member"), key, strict=True))
        for name in problems.TESTS:
            if own and name in own[0]:
                line[name] = float(np.mean([r[name] for r in own]))
        line["std"] = float(np.std([r["shortcut_broken"] for r in own]))
        table.append(line)
    return table


def claims(config: Images, rows: list[Row]) -> list[Claim]:
    """Members that cannot use the shortcut, on every seed."""
    most, least = BOUNDS[config.problem]
    paper = PAPER.get(config.problem, ("", {}))
    first = _headline(rows, "D-BAT", "1", config.pools[0])
    found = [
        Claim(
            "the first member (ERM) goes by the shortcut: accuracy where it is broken",
            f"<= {most:g} %" + (f" (paper {paper[0]})" if paper[0] else ""),
            float(np.mean(first)),
            bool(np.mean(first) <= most),
        )
    ]
    for pool in config.pools:
        second = _headline(rows, "D-BAT", "2", pool)
        said = paper[1].get(pool)
        found.append(
            Claim(
                f"the second member does not (unlabelled: {pool})",
                f">= {least[pool]:g} %" + (f" (paper {said})" if said else ""),
                float(np.mean(second)),
                bool(np.mean(second) >= least[pool]),
            )
        )
    plain = [
        r["shortcut_broken"] for r in rows if (r["method"], r["member"]) == ("deep ensemble", "2")
    ]
    if not plain:
        return found
    gap = min(np.mean(_headline(rows, "D-BAT", "2", p)) for p in config.pools) - np.mean(plain)
    found.append(
        Claim(
            "a second member without the agreement stays with the shortcut: D-BAT is ahead by",
            ">= 20 points", float(gap), bool(gap >= 20),
        )
    )  # fmt: skip
    return found


def _headline(rows: list[Row], method: str, member: str, pool: str) -> list[float]:
    return [
        row["shortcut_broken"]
        for row in rows
        if (row["method"], row["member"], row["unlabelled"]) == (method, member, pool)
    ]


@plots.style()
def _figure(config: Images, rows: list[Row], logs: dict[str, Any]) -> Any:
    """Accuracies with the shortcut broken, and how members come to disagree."""
    fig = plots.figure(figsize=(12, 4.4))
    left, right = fig.subplots(1, 2, width_ratios=(1.3, 1))
    lines = [row for row in shown(config, rows) if row["member"] != "mean"]
    tests = [name for name in problems.TESTS if name in lines[0]]
    width = 0.8 / len(tests)
    for j, name in enumerate(tests):
        at = np.arange(len(lines)) + (j - (len(tests) - 1) / 2) * width
        left.bar(at, [r[name] for r in lines], width, color=plots.COLORS[j], label=name)
    ticks = [f"{r['method']} {r['member']}\n({r['unlabelled']})" for r in lines]
    left.set_xticks(range(len(lines)), ticks, fontsize=8)
    left.set(title="accuracy of members (%)", ylim=(0, 119))
    left.legend([name.replace("_", " ") for name in tests], ncols=3, loc="upper center", fontsize=9)
    for color, (label, log) in zip(plots.COLORS, logs.items(), strict=False):
        rounds = np.arange(log["agreement"].shape[1])
        plots.band(right, rounds, log["agreement"], color=color, label=label)
    right.set(title="agreement of later members", xlabel="rounds", yscale="log")
    right.legend(fontsize=9)
    return fig
