"""Worst-client accuracy of methods when clients hold different labels (Table 2's question)."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.relaysgd.figures import heterogeneity_figure, worst_client_figure
from experiments.relaysgd.kinds import Heterogeneity
from experiments.relaysgd.methods import Method, find
from experiments.relaysgd.tuned_training import train
from experiments.tasks import make_task

# from best to worst with momentum at alpha = 0.01 in Table 2 of the paper
PAPER_ORDER = ("all-reduce", "RelaySGD", "SGP", "D-PSGD + QGM", "D2")


def run(config: Heterogeneity, context: Context) -> list[Row]:
    """Trains every method for every alpha and momentum."""
    methods = find(config.methods)
    task = make_task(config.dataset, config.hidden, config.eval_examples, config.examples)
    seeds = config.seed + np.arange(config.num_seeds)
    rows: list[Row] = []
    curves: dict[tuple[float, str], dict[str, np.ndarray]] = {}
    counts: dict[float, np.ndarray] = {}
    for alpha in config.alphas:
        parts = [jc.data.dirichlet(task.train.y, config.n, alpha, seed=s) for s in seeds]
        counts[alpha] = np.stack([np.bincount(task.train.y[p], minlength=10) for p in parts[0]])
        for method in methods:
            for momentum in config.momenta:
                if method.name == "D-PSGD + QGM" and momentum == 0:
                    continue  # it is plain D-PSGD then
                done = _train(config, context, task, parts, seeds, method, momentum, alpha)
                rows.append(done.row)
                curves[alpha, _label(method, momentum, config)] = done.curves
                if done.interrupted:
                    context.stop.set()
                    return rows
    if len(config.methods) <= 3:
        figure = heterogeneity_figure(config, jc.topology.chain(config.n), curves, counts)
    else:
        figure = worst_client_figure(config, rows)
    context.save(figure, "accuracy")
    return rows


def claims(config: Heterogeneity, rows: list[Row]) -> list[Claim]:
    """What the paper says of heterogeneous data; each claim needs its methods in the run."""
    momentum, least, most = max(config.momenta), min(config.alphas), max(config.alphas)
    worst = {
        (row["algorithm"], row["topology"], row["alpha"]): row["worst_accuracy"]
        for row in rows
        if row["momentum"] == momentum
    }
    relay = {alpha: worst.get(("RelaySGD", "chain", alpha)) for alpha in config.alphas}
    gossip = {alpha: worst.get(("D-PSGD", "chain", alpha)) for alpha in config.alphas}
    exact = worst.get(("all-reduce", "complete", least))
    found: list[Claim] = []

    def check(sentence: str, expected: str, measured: Any, holds: bool) -> None:
        found.append(Claim(sentence, expected, measured, bool(holds)))

    where = f"worst client, alpha {least:g}"
    if config.dataset == "digits" and relay[least] is not None:
        check(
            f"RelaySGD's clients all learn the task ({where})",
            ">= 0.95", relay[least], relay[least] >= 0.95,
        )  # fmt: skip
    if relay[least] is not None and gossip[least] is not None:
        gap = relay[least] - gossip[least]
        check(
            f"RelaySGD is ahead of D-PSGD on the same chain ({where})", ">= 0.10", gap, gap >= 0.1
        )
    if relay[least] is not None and exact is not None:
        check(
            f"RelaySGD is close to all-reduce ({where})",
            "within 0.03", exact - relay[least], exact - relay[least] <= 0.03,
        )  # fmt: skip
    if most >= 1 > least and relay[least] is not None and gossip[least] is not None:
        span = f"from alpha {most:g} to {least:g}"
        lost = relay[most] - relay[least]
        check(f"RelaySGD on the chain loses little {span}", "<= 0.03", lost, lost <= 0.03)
        lost = gossip[most] - gossip[least]
        check(f"D-PSGD on the same chain loses much {span}", ">= 0.10", lost, lost >= 0.10)
    if len({name for name, topology, _ in worst if topology != "chain"} & {*PAPER_ORDER}) > 2:
        found.append(_order_claim(worst, least))
    return found


def _order_claim(worst: dict[tuple[str, str, float], float], alpha: float) -> Claim:
    best: dict[str, float] = {}
    for (name, topology, at), value in worst.items():
        if at == alpha and topology != "chain":
            best[name] = max(value, best.get(name, 0.0))
    present = [name for name in PAPER_ORDER if name in best]
    values = [best[name] for name in present]
    holds = all(a >= b for a, b in itertools.pairwise(values))
    return Claim(
        f"the order of the paper's Table 2 (worst client, momentum, alpha {alpha:g})",
        " >= ".join(present),
        ", ".join(f"{name} {best[name]:.3f}" for name in present),
        holds,
    )


def _train(
    config: Heterogeneity,
    context: Context,
    task: Any,
    parts: list[Any],
    seeds: np.ndarray,
    method: Method,
    momentum: float,
    alpha: float,
) -> Any:
    mixer = method.mixer(config.n)
    # momentum lengthens a step by 1 / (1 - mu); relaying late shortens it by the correction
    scale = (1 - momentum) * method.correction(config.n)
    build = functools.partial(_build, method, momentum, mixer)
    return train(
        task,
        parts,
        build,
        mixer,
        rates=tuple(scale * rate for rate in config.learning_rates),
        seeds=seeds,
        rounds=config.rounds,
        batch_size=config.batch_size,
        evaluations=config.evaluations,
        context=context,
        description=f"{_label(method, momentum, config)}, alpha {alpha:g}",
        tags={
            "algorithm": method.name,
            "topology": method.topology,
            "momentum": momentum,
            "alpha": alpha,
        },
    )


def _build(method: Method, momentum: float, mixer: jc.Mixer, loss: Any, rate: Any) -> jc.Algorithm:
    return method.build(loss, rate, momentum, mixer)


def _label(method: Method, momentum: float, config: Heterogeneity) -> str:
    several = sum(name.startswith(f"{method.name} ") for name in config.methods) > 1
    name = str(method) if several else method.name
    return name + (f", momentum {momentum:g}" if len(config.momenta) > 1 else "")
