"""One class per client: what the coefficient of the variance does to training and accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.grad_align import toy
from experiments.grad_align.cluster_figure import figure
from experiments.grad_align.kinds import Clusters
from experiments.grad_align.summary import by_case, is_broken, means, paired

SUMMARY = ("test_accuracy", "train_loss", "mean_variance", "final_variance")


class Sweep(NamedTuple):
    """A method with all of its displacements.

    Attributes:
        name: of the method where beta > 0.
        plain: its name at beta = 0.
        build: ``build(loss, beta) -> Algorithm``.
        betas: displacements; (0,) where the method has none.
        steps: K.
        gamma: learning rate.
        rounds: T.
        aligned: whether beta adds to the coefficient, against the drift of local steps.
    """

    name: str
    plain: str
    build: Callable[[Any, Any], jc.Algorithm]
    betas: tuple[float, ...]
    steps: int
    gamma: float
    rounds: int
    aligned: bool

    def coefficient(self, beta: float) -> float:
        """C in f + (c/2) Var."""
        return beta - self.gamma * (self.steps - 1) / 2 if self.aligned else 0.0


def sweeps(config: Clusters) -> list[Sweep]:
    """GradAlign, FedGA and SCAFFOLD."""
    gamma, local, steps = config.gamma, config.local_gamma, config.local_steps
    rounds, local_rounds = config.rounds, config.local_rounds
    options: dict[str, Any] = {"local_steps": steps, "source": jc.sources.repeated()}

    def grad_align(loss: Any, beta: Any) -> jc.Algorithm:
        return jc.grad_align(loss, optax.sgd(gamma), beta)

    def fedga(loss: Any, beta: Any) -> jc.Algorithm:
        drift = jc.local.gradient_alignment(beta)
        return jc.federated(loss, optax.sgd(local), drift=drift, **options)

    def scaffold(loss: Any, beta: Any) -> jc.Algorithm:
        optimizer = optax.chain(jc.local.control_variate(), optax.sgd(local))
        drift = jc.local.scaffold(recomputed=True)
        return jc.federated(loss, optimizer, drift=drift, **options)

    return [
        Sweep("GradAlign", "GD", grad_align, config.betas, 1, gamma, rounds, True),
        Sweep("FedGA", "FedAvg", fedga, config.local_betas, steps, local, local_rounds, True),
        Sweep("SCAFFOLD", "SCAFFOLD", scaffold, (0.0,), steps, local, local_rounds, False),
    ]


def run(config: Clusters, context: Context) -> list[Row]:
    """All displacements and seeds of a method in one program; a row for each."""
    seeds = config.seed + np.arange(config.num_seeds)
    train, test = map(toy.stacked, zip(*(toy.make(config, int(s)) for s in seeds), strict=True))
    every = sweeps(config)
    task = context.progress.add_task("clusters", total=len(every))
    rows: list[Row] = []
    curves: dict[tuple[str, float], np.ndarray] = {}
    for sweep in every:
        if context.stop.is_set():
            return rows
        logs, accuracy = _train(config, sweep, seeds, train, test)
        variance, loss = logs["server_gradient_variance"], logs["server_mean_loss"]
        for b, beta in enumerate(sweep.betas):
            name = sweep.name if beta else sweep.plain
            curves[name, beta] = variance[b]
            for s, seed in enumerate(seeds):
                row = {
                    "method": name,
                    "K": sweep.steps,
                    "gamma": sweep.gamma,
                    "beta": beta if sweep.aligned else None,
                    "c": round(sweep.coefficient(beta), 12),
                    "seed": int(seed),
                    "test_accuracy": float(accuracy[b, s]),
                    "train_loss": float(loss[b, s, -1]),
                    "mean_variance": float(variance[b, s].mean()),
                    "final_variance": float(variance[b, s, -1]),
                    "broken": is_broken(loss[b, s, -1], config.classes),
                }
                rows.append(row)
                context.log(rounds=sweep.rounds).write(row)
        context.progress.advance(task)
    context.save(figure(rows, curves), "clusters")
    return rows


def _train(
    config: Clusters, sweep: Sweep, seeds: np.ndarray, train: Any, test: Any
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Logs ``[betas, seeds, T]`` and test accuracies ``[betas, seeds]``."""
    model = toy.model(config)
    loss = jc.objectives.classification(model.apply)

    def one(beta: Any, seed: Any, batch: Any) -> tuple[Any, Any]:
        key = jax.random.key(seed)
        judge = jc.metrics.gradient_variance(loss, batch, prefix="server_")
        algorithm = jc.with_metrics(sweep.build(loss, beta), judge)
        start = jc.replicate(model.init(key, batch.x[0]), config.classes)
        state, log = jc.run(
            algorithm,
            algorithm.init(key, start),
            batch,
            key,
            num_rounds=sweep.rounds,
            sample=jc.data.whole,
        )
        return state.shared.params, {k: v for k, v in log.items() if k.startswith("server_")}

    def correct(params: Any, test: Any) -> Any:
        return jnp.mean(jnp.argmax(model.apply(params, test.x), -1) == test.y)

    count = len(sweep.betas)
    betas = jnp.repeat(jnp.asarray(sweep.betas), len(seeds))
    batches, tests = (
        jax.tree.map(lambda leaf: jnp.concatenate([jnp.asarray(leaf)] * count), data)
        for data in (train, test)
    )
    models, logs = jax.jit(jc.layout.per_replica(one))(betas, jnp.tile(seeds, count), batches)
    accuracy = jax.jit(jc.layout.per_replica(correct))(models, tests)
    shape = (count, len(seeds))
    split = {name: np.asarray(v).reshape(*shape, -1) for name, v in logs.items()}
    return split, np.asarray(accuracy).reshape(shape)


def shown(config: Clusters, rows: list[Row]) -> list[Row]:
    """Means over seeds, and how many of them broke."""
    table = []
    for own in by_case(rows, "method", "beta").values():
        line = {name: own[0][name] for name in ("method", "K", "gamma", "beta", "c")}
        table.append(line | means(own, SUMMARY))
    return table


def claims(config: Clusters, rows: list[Row]) -> list[Claim]:
    """What the coefficient predicts; differences are paired, seed by seed."""
    found: list[Claim] = []
    cases = by_case(rows, "method", "beta")
    for names in (("GD", "GradAlign"), ("FedAvg", "FedGA")):
        line = [
            own
            for (name, _), own in sorted(cases.items(), key=lambda case: case[1][0]["c"])
            if name in names and not any(row["broken"] for row in own)
        ]
        if len(line) > 1:
            found += _claims_of_a_line(f"{names[1]}, where training succeeds", line)
    for (name, beta), own in cases.items():
        if name == "FedGA" and own[0]["c"] == 0 and ("SCAFFOLD", None) in cases:
            mean, error = paired(own, cases["SCAFFOLD", None], "test_accuracy")
            claim = "FedGA at c = 0 has SCAFFOLD's test accuracy (mean paired difference)"
            measured = f"{mean:+.4f} (standard error {error:.4f})"
            found.append(Claim(claim, "within 0.005", measured, abs(mean) <= 0.005))
        if name == "GradAlign" and beta >= 1:
            broken = sum(row["broken"] for row in own)
            claim = f"too large a displacement, beta = {beta:g}, breaks training (seeds)"
            measured = f"{broken} of {len(own)}"
            found.append(Claim(claim, "all", measured, broken == len(own)))
    return found


def _claims_of_a_line(name: str, line: list[list[Row]]) -> list[Claim]:
    """Claims on cases of rising c; ``line [cases][seeds]``."""
    pairs = list(itertools.pairwise(line))
    ratio = max(
        means(b, SUMMARY)["final_variance"] / means(a, SUMMARY)["final_variance"] for a, b in pairs
    )
    rises = [
        b["final_variance"] >= a["final_variance"]
        for left, right in pairs
        for a, b in zip(left, right, strict=True)
    ]
    steps = [paired(b, a, "test_accuracy")[0] for a, b in pairs]
    mean, error = paired(line[-1], line[0], "test_accuracy")
    ends = f"c = {line[0][0]['c']:g} to {line[-1][0]['c']:g}"
    return [
        Claim(
            f"{name}: the final variance falls at every step of c, in the mean of seeds "
            "(largest ratio of neighbours)",
            "< 1", float(ratio), ratio < 1,
        ),
        Claim(
            f"{name}: it does so in every seed (exceptions)",
            "0", f"{sum(rises)} of {len(rises)}", not any(rises),
        ),
        Claim(
            f"{name}: test accuracy rises at every step of c (smallest mean paired difference)",
            "> 0", float(min(steps)), min(steps) > 0,
        ),
        Claim(
            f"{name}: test accuracy rises from {ends} (mean paired difference)",
            "> 2 standard errors", f"{mean:+.4f} (standard error {error:.4f})", mean > 2 * error,
        ),
    ]  # fmt: skip
