"""Federated methods on labels that differ between clients, all tuned alike."""

from __future__ import annotations

from typing import Any

import jax
import matplotlib.ticker
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.federated import methods
from experiments.federated.kinds import Comparison
from experiments.tasks import Task, make_task, stack_clients
from jcollab import plots

Curves = dict[str, np.ndarray]


def run(config: Comparison, context: Context) -> list[Row]:
    """Trains every method with all learning rates and seeds in one program."""
    for name in config.methods:
        methods.check(name)
    task = make_task(config.dataset, config.hidden, config.eval_examples)
    seeds = config.seed + np.arange(config.num_seeds)
    parts = [
        jc.data.by_label(
            task.train.y, config.n, shards_per_client=config.shards_per_client, seed=seed
        )
        for seed in seeds
    ]
    data = stack_clients(parts, task.train, len(config.learning_rates))
    rows, curves = [], {}
    for name in config.methods:
        row, curves[name], stopped = _train(config, context, task, data, seeds, name)
        rows.append(row)
        if stopped:
            context.stop.set()
            return rows
    context.save(_figure(config, curves), "accuracy")
    return rows


def claims(config: Comparison, rows: list[Row]) -> list[Claim]:
    """What the papers promise over FedAvg, with the same tuning for everybody."""
    by_name = {row["method"]: row for row in rows}
    found: list[Claim] = []
    if "FedAvg" not in by_name:
        return found
    base = by_name["FedAvg"]["accuracy"]
    for name in ("SCAFFOLD", "FedGA", "FedGA c=0"):
        if name in by_name:
            gain = by_name[name]["accuracy"] - base
            found.append(
                Claim(f"{name} is more accurate than FedAvg (test)", "> 0", gain, gain > 0)
            )
    best = max(row["accuracy"] for row in rows)
    found.append(
        Claim(
            f"the best method passes {config.target:g}",
            f"> {config.target:g}",
            best,
            best > config.target,
        )
    )
    return found


def _train(
    config: Comparison,
    context: Context,
    task: Task,
    data: jc.data.ClientData,
    seeds: np.ndarray,
    name: str,
) -> tuple[Row, Curves, bool]:
    loss = jc.objectives.classification(task.model.apply)
    rates = config.learning_rates

    def build(rate: Any) -> jc.Algorithm:
        return methods.build(
            name,
            loss,
            rate,
            num_sampled=config.num_sampled,
            local_steps=config.local_steps,
            batch_size=config.batch_size,
        )

    def start(rate: Any, seed: Any) -> jc.State:
        key = jax.random.key(seed)
        params = task.model.init(key, task.train.x[:1])
        return build(rate).init(key, jc.replicate(params, config.n))

    every_rate = np.repeat(np.array(rates, np.float32), len(seeds))
    every_seed = np.tile(seeds, len(rates))
    judges = {
        part: jc.metrics.accuracy(task.model.apply, some.x[: task.seen], some.y[: task.seen])
        for part, some in (("validation", task.validation), ("test", task.test))
    }
    fitted = jc.fit(
        build,
        jax.vmap(start)(every_rate, every_seed),
        data,
        jax.vmap(jax.random.key)(every_seed),
        settings=every_rate,
        num_rounds=config.rounds,
        sample=jc.data.whole,
        evaluate=lambda state: {k: judge(state)["mean_accuracy"] for k, judge in judges.items()},
        eval_every=max(1, config.rounds // config.evaluations),
        **context.fit_options(
            tolerant=True, method=name, learning_rate=every_rate, seed=every_seed
        ),
        description=name,
        replicas=True,
        data_axes=jc.data.ClientData(None, 0, 0),
    )
    last = np.nan_to_num(fitted.evaluations["validation"][-3:].mean(0))
    best = int(last.reshape(len(rates), -1).mean(1).argmax())
    chosen = slice(best * len(seeds), (best + 1) * len(seeds))
    state = jax.tree.map(lambda leaf: leaf[chosen], fitted.state)
    whole = jc.metrics.accuracy(task.model.apply, *task.test)
    final = np.asarray(jax.vmap(whole)(state)["mean_accuracy"])
    curve = fitted.evaluations["test"][:, chosen]
    reached = np.flatnonzero(curve.mean(1) >= config.target)
    rounds = fitted.evaluations["round"]
    row = {
        "method": name,
        "learning_rate": rates[best],
        "accuracy": final.mean(),
        "std": final.std(),
        "loss": np.asarray(fitted.log["loss"])[chosen, -10:].mean(),
        "rounds_to_target": int(rounds[reached[0]]) if len(reached) else None,
    }
    return row, {"round": rounds, "test": curve}, fitted.stopped == "interrupted"


@plots.style()
def _figure(config: Comparison, curves: dict[str, Curves]) -> Any:
    fig = plots.figure(figsize=(7.2, 4.4))
    ax = fig.subplots()
    for i, (name, values) in enumerate(curves.items()):
        color, dash = plots.COLORS[i % len(plots.COLORS)], plots.DASHES[i % len(plots.DASHES)]
        error = 1 - values["test"].T
        plots.band(ax, values["round"], error, color=color, label=name, linestyle=dash)
    ax.set(
        title=f"{config.dataset}: {config.num_sampled} of {config.n} clients a round, "
        f"{config.shards_per_client} shards of labels each",
        xlabel="communication rounds",
        ylabel="test error",
        yscale="log",
    )
    ax.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    ax.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    ax.legend(ncols=2, fontsize=9, loc="upper right")
    return fig
