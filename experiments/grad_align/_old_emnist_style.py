"""The paper's federated setting: one class per client, few of whom are sampled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.grad_align.image_figure import figure
from experiments.grad_align.kinds import EmnistStyle
from experiments.grad_align.summary import by_case, means, paired
from experiments.grad_align.training import make_task, train


def run(config: EmnistStyle, context: Context) -> list[Row]:
    """Trains every method, all of its settings and seeds in one program."""
    task = make_task(config, lambda labels: jc.data.by_label(labels, config.n))
    kinds = [len(np.unique(labels)) for labels in task.shards.y]
    rows: list[Row] = []
    curves: dict[tuple[str, float], dict[str, np.ndarray]] = {}
    values = {"FedGA": config.betas, "FedProx": config.strengths}
    for method in config.methods:
        own = values.get(method, (0.0,))
        if not own:
            continue
        done = train(
            task,
            config,
            lambda loss, value, method=method: _build(config, method, loss, value),
            own,
            context,
            clients=config.n,
            sample=jc.data.whole,
            method=method,
        )
        for row in done.rows:
            rows.append(_named(config, row) | {"pure_clients": kinds.count(1)})
        for i, value in enumerate(own):
            name = "FedAvg" if method == "FedGA" and value == 0 else method
            curves[name, value] = {k: v if k == "round" else v[i] for k, v in done.curves.items()}
        if done.interrupted:
            context.stop.set()
            return rows
    context.save(figure(curves, rows, "FedAvg"), "emnist_style")
    return rows


def _build(config: EmnistStyle, method: str, loss: Any, value: Any) -> jc.Algorithm:
    rate = config.large_batch_gamma if method == "large-batch SGD" else config.gamma
    parts = [optax.add_decayed_weights(config.weight_decay), optax.sgd(rate)]
    steps, drift = config.local_steps, None
    if method == "large-batch SGD":
        steps = 1
    elif method == "FedProx":
        parts = [jc.local.proximal(value), *parts]
    elif method == "SCAFFOLD":
        parts, drift = [jc.local.control_variate(), *parts], jc.local.scaffold(recomputed=True)
    else:
        drift = jc.local.gradient_alignment(value)
    return jc.federated(
        loss,
        optax.chain(*parts),
        num_sampled=config.num_sampled,
        local_steps=steps,
        source=jc.sources.repeated(),
        drift=drift,
    )


def _named(config: EmnistStyle, row: Row) -> Row:
    """The row with its method's name, and with its value under the name that it has there."""
    method, value = row["method"], row["value"]
    drift = -config.gamma * (config.local_steps - 1) / 2
    coefficients = {"FedGA": round(value + drift, 12), "FedProx": None}
    rest = {k: v for k, v in row.items() if k not in ("method", "value")}
    return {
        "method": "FedAvg" if method == "FedGA" and value == 0 else method,
        "beta": value if method == "FedGA" else None,
        "mu": value if method == "FedProx" else None,
        "c": coefficients.get(method, 0.0),
    } | rest


def shown(config: EmnistStyle, rows: list[Row]) -> list[Row]:
    """Means over seeds."""
    return [
        {name: own[0][name] for name in ("method", "beta", "mu", "c")} | means(own)
        for own in by_case(rows, "method", "beta", "mu").values()
    ]


def claims(config: EmnistStyle, rows: list[Row]) -> list[Claim]:
    """Alignment lowers the variance and raises the accuracy; differences are paired by seed."""
    cases = by_case(rows, "method", "beta", "mu")
    plain = cases.get(("FedAvg", 0.0, None))
    aligned = {case[1]: own for case, own in cases.items() if case[0] == "FedGA"}
    found: list[Claim] = []
    if not plain or not aligned:
        return found
    line = [plain, *(aligned[beta] for beta in sorted(aligned))]
    variances = [means(own)["gradient_variance"] for own in line if not means(own)["broken"]]
    if len(variances) > 1:
        ratio = max(b / a for a, b in itertools.pairwise(variances))
        claim = "the variance of gradients falls with beta, where training succeeds (largest ratio)"
        found.append(Claim(claim, "< 1", ratio, ratio < 1))
    for beta in sorted(aligned):
        gain, error = paired(aligned[beta], plain, "test_accuracy")
        claim = f"FedGA with beta = {beta:g} is more accurate than FedAvg (paired)"
        measured = f"{gain:+.4f} (standard error {error:.4f})"
        found.append(Claim(claim, "> 0", measured, gain > 0))
    best = max(aligned.values(), key=lambda own: means(own)["test_accuracy"])
    for rival in ("SCAFFOLD", "FedProx", "large-batch SGD"):
        others = [own for case, own in cases.items() if case[0] == rival]
        if others:
            other = max(others, key=lambda own: means(own)["test_accuracy"])
            gain, error = paired(best, other, "test_accuracy")
            claim = f"the best FedGA is more accurate than the best {rival} (paired)"
            measured = f"{gain:+.4f} (standard error {error:.4f})"
            found.append(Claim(claim, "> 0", measured, gain > 0))
    return found
