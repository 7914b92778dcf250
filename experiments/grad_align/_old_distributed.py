"""The paper's distributed setting: alignment of a large batch's parts, data dealt at random."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.grad_align.image_figure import figure
from experiments.grad_align.kinds import Distributed
from experiments.grad_align.summary import by_case, means, paired
from experiments.grad_align.training import make_task, train


def run(config: Distributed, context: Context) -> list[Row]:
    """All displacements and seeds in one program."""
    task = make_task(config, lambda labels: jc.data.iid(len(labels), config.n))

    def some_shards(shards: Any, key: Any, step: Any) -> Any:
        """Each of the workers gets one of the n shards, other ones in every round."""
        chosen = jc.layout.sample_clients(key, config.n, config.num_sampled)
        return jax.tree.map(lambda leaf: leaf[chosen], shards)

    def build(loss: Any, beta: Any) -> jc.Algorithm:
        optimizer = optax.chain(
            optax.clip_by_global_norm(config.clip),
            optax.add_decayed_weights(config.weight_decay),
            optax.sgd(config.gamma),
        )
        return jc.grad_align(loss, optimizer, beta)

    done = train(
        task,
        config,
        build,
        config.betas,
        context,
        clients=config.num_sampled,
        sample=some_shards,
        method="GradAlign",
    )
    rows: list[Row] = []
    for row in done.rows:
        rest = {name: v for name, v in row.items() if name not in ("method", "value")}
        beta = row["value"]
        rows.append({"method": _name(beta), "beta": beta} | rest)
    curves: dict[tuple[str, float], dict[str, np.ndarray]] = {
        (_name(beta), beta): {k: v if k == "round" else v[i] for k, v in done.curves.items()}
        for i, beta in enumerate(config.betas)
    }
    if done.interrupted:
        context.stop.set()
        return rows
    context.save(figure(curves, rows, "parallel SGD"), "distributed")
    return rows


def _name(beta: float) -> str:
    return "GradAlign" if beta else "parallel SGD"


def shown(config: Distributed, rows: list[Row]) -> list[Row]:
    """Means over seeds, and the gain over parallel SGD."""
    cases = by_case(rows, "beta")
    table = []
    for (beta,), own in cases.items():
        gain, error = paired(own, cases[0.0,], "test_accuracy")
        line = {"method": own[0]["method"], "beta": beta} | means(own)
        table.append(line | {"gain": gain if beta else None, "gain_error": error if beta else None})
    return table


def claims(config: Distributed, rows: list[Row]) -> list[Claim]:
    """Alignment lowers the variance of gradients and raises the accuracy."""
    cases = {beta: own for (beta,), own in sorted(by_case(rows, "beta").items())}
    found: list[Claim] = []
    variances = [
        means(own)["gradient_variance"] for own in cases.values() if not means(own)["broken"]
    ]
    if len(variances) > 1:
        ratio = max(b / a for a, b in itertools.pairwise(variances))
        claim = "the variance of gradients falls with beta, where training succeeds (largest ratio)"
        found.append(Claim(claim, "< 1", ratio, ratio < 1))
    for beta, own in cases.items():
        if beta:
            gain, error = paired(own, cases[0.0], "test_accuracy")
            claim = f"GradAlign with beta = {beta:g} is more accurate than parallel SGD (paired)"
            measured = f"{gain:+.4f} (standard error {error:.4f})"
            found.append(Claim(claim, "> 0", measured, gain > 0))
    return found
