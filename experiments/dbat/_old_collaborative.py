"""Clients that share only predictions on public points: half of them disagree with the others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.dbat import images, problems, training
from experiments.dbat.kinds import Collaborative
from experiments.tasks import stack_clients
from jcollab import ensembles, plots
from jcollab.objectives.disagreement import EPSILON

METHODS = ("alone", "disagreeing")
HALVES = ("first half", "second half")


def run(config: Collaborative, context: Context) -> list[Row]:
    """One row for each method, seed and half of the clients."""
    problem = problems.dominoes(config)
    model = images.network(config, problem.outputs)
    seeds = [config.seed + i for i in range(config.num_seeds)]
    settings = np.repeat(np.array([0.0, config.alpha], np.float32), len(seeds))
    keys = jnp.stack([jax.random.key(seed) for seed in seeds] * len(METHODS))
    parts = [_deal(len(problem.train.y), config.clients, seed) for seed in seeds]
    data = (
        stack_clients(parts, problem.train, len(METHODS)),
        jnp.asarray(problem.pools[config.pool]),
    )
    algorithm = _algorithm(config, lambda params, x: model.apply(params, x))

    def start(key: jax.Array) -> jc.State:
        each = jax.random.split(key, config.clients)
        params = jax.vmap(lambda k: model.init(k, problem.train.x[:1]))(each)
        return algorithm(0.0).init(key, params)

    fitted = jc.fit(
        algorithm,
        jax.vmap(start)(keys),
        data,
        keys,
        num_rounds=config.rounds,
        sample=_sample(config),
        data_axes=(jc.data.ClientData(None, 0, 0), None),
        replicas=True,
        settings=jnp.asarray(settings),
        description="clients",
        **context.fit_options(),
    )
    if fitted.stopped != "finished":
        return []
    rows = _rows(config, problem, model, fitted.state, seeds)
    context.save(_figure(config, rows, fitted.log, len(seeds)), "collaborative")
    return rows


def claims(config: Collaborative, rows: list[Row]) -> list[Claim]:
    """Disagreement finds the other feature without a client seeing another's data or model."""

    def mean(method: str, half: str, column: str = "shortcut_broken") -> float:
        own = [r[column] for r in rows if (r["method"], r["half"]) == (method, half)]
        return float(np.mean(own))

    free, told = (mean("disagreeing", half) for half in HALVES)
    gain = told - mean("alone", HALVES[1])
    ahead = mean("disagreeing", HALVES[0], "test_accuracy")
    return [
        Claim("who learns freely goes by the shortcut: accuracy where it is broken",
              "<= 65 %", free, free <= 65),
        Claim("who disagrees does not", ">= 75 %", told, told >= 75),
        Claim("gain of those over the same clients alone", ">= 20 points", gain, gain >= 20),
        Claim("accuracy of the first half where the shortcut holds", ">= 95 %", ahead, ahead >= 95),
    ]  # fmt: skip


def _deal(count: int, n: int, seed: int) -> list[np.ndarray]:
    """Parts of equal size, without overlap."""
    order = np.random.default_rng(seed).permutation(count)
    return [order[i : count // n * n : n] for i in range(n)]


def _against(n: int) -> np.ndarray:
    """Weights ``[n, n]``: the second half of the clients disagree with the first half."""
    weights = np.zeros((n, n), np.float32)
    weights[n // 2 :, : n // 2] = 1
    return weights


def _sample(config: Collaborative) -> Any:
    """A labelled batch of each client, and unlabelled points that all know."""

    own = jc.data.minibatches(config.batch_size)

    def sample(data: Any, key: jax.Array, step: jax.Array) -> training.Batch:
        clients, pool = data
        labelled, public = jax.random.split(key)
        batch = own(clients, labelled, step)
        points = pool[jax.random.randint(public, (config.batch_size,), 0, len(pool))]
        return training.Batch(batch.x, batch.y, jc.replicate(points, config.clients))

    return sample


def _algorithm(config: Collaborative, predict: Any) -> Any:
    optimizer = optax.adamw(config.learning_rate, weight_decay=config.weight_decay)
    return lambda alpha: jc.collaborative_dbat(
        training.cross_entropy(predict),
        predict,
        optimizer,
        alpha=alpha,
        public=lambda batch: batch.unlabelled[0],
        against=_against(config.clients),
        warmup=config.warmup,
        anchor=config.anchor,
        epsilon=EPSILON if config.logarithm == "released" else None,
    )


def _rows(
    config: Collaborative, problem: problems.Problem, model: Any, state: jc.State, seeds: list[int]
) -> list[Row]:
    logits_of = ensembles.member_logits(model.apply)
    half = config.clients // 2
    rows: list[Row] = []
    for r, (method, seed) in enumerate((m, s) for m in METHODS for s in seeds):
        models = jax.tree.map(lambda leaf: leaf[r], state.clients.params)  # noqa: B023
        accuracy = {
            name: 100 * np.asarray(ensembles.accuracies(logits_of(models, test.x), test.y)[0])
            for name, test in problem.tests.items()
        }
        for name, part in zip(HALVES, (slice(None, half), slice(half, None)), strict=True):
            row: Row = {"method": method, "seed": seed, "half": name}
            rows.append(row | {test: float(v[part].mean()) for test, v in accuracy.items()})
    return rows


def shown(config: Collaborative, rows: list[Row]) -> list[Row]:
    """Means over seeds, with the standard deviation of the headline."""
    table: list[Row] = []
    for method, half in ((m, h) for m in METHODS for h in HALVES):
        own = [r for r in rows if (r["method"], r["half"]) == (method, half)]
        if own:
            line: Row = {"method": method, "half": half}
            line |= {t: float(np.mean([r[t] for r in own])) for t in problems.TESTS}
            table.append(line | {"std": float(np.std([r["shortcut_broken"] for r in own]))})
    return table


@plots.style()
def _figure(config: Collaborative, rows: list[Row], log: dict[str, Any], seeds: int) -> Any:
    fig = plots.figure(figsize=(11, 4.2))
    left, right = fig.subplots(1, 2)
    lines = shown(config, rows)
    for j, test in enumerate(problems.TESTS):
        at = np.arange(len(lines)) + (j - 1) * 0.27
        left.bar(at, [r[test] for r in lines], 0.27, color=plots.COLORS[j], label=test)
    left.set_xticks(range(len(lines)), [f"{r['method']}\n{r['half']}" for r in lines], fontsize=8)
    left.set(title="accuracy of clients (%)", ylim=(0, 119))
    left.legend([t.replace("_", " ") for t in problems.TESTS], ncols=3, fontsize=8)
    rounds = np.arange(config.rounds)
    for i, (color, method) in enumerate(zip(plots.COLORS, METHODS, strict=False)):
        rows_of = slice(i * seeds, (i + 1) * seeds)
        plots.band(right, rounds, log["agreement"][rows_of], color=color, label=method)
    right.set(title="agreement with the first half", xlabel="rounds")
    right.legend(fontsize=9)
    return fig
