"""Gain over independent learning for a grid of both weights, all of them in one program."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.contract import Claim, Context, Row
from experiments.rep_sharing import methods
from experiments.rep_sharing.kinds import LambdaMap
from experiments.rep_sharing.training import load, make_model, train
from jcollab import objectives, plots


def run(config: LambdaMap, context: Context) -> list[Row]:
    """Trains with every pair of weights; (0, 0) is independent learning."""
    pairs = np.array(list(itertools.product(config.weights, repeat=2)), np.float32)
    options = methods.parts("ours", config, config.n)

    def make(groups: Any, own: jax.Array) -> Any:
        objective = objectives.representation_sharing(own[0], own[1])
        return methods.build(groups, config, options | {"objective": objective})

    done = train(
        config,
        context,
        load(config),
        [(make_model(config), config.n)],
        make,
        f"{len(pairs)} pairs of weights",
        settings=jnp.asarray(pairs),
    )
    means = done.accuracy.mean(1).reshape(len(pairs), -1)
    alone = means[(pairs == 0).all(1)][0]
    rows: list[Row] = [
        {
            "distillation": float(pull),
            "discrimination": float(tell),
            "accuracy": values.mean(),
            "gain": (values - alone).mean(),
        }
        for (pull, tell), values in zip(pairs, means, strict=True)
    ]
    if done.interrupted:
        context.stop.set()
        return rows
    context.save(_figure(config, rows), "gain")
    return rows


def claims(config: LambdaMap, rows: list[Row]) -> list[Claim]:
    """What the figure shows."""
    gain = {(row["distillation"], row["discrimination"]): row["gain"] for row in rows}
    alone = max(value for (pull, _), value in gain.items() if pull == 0)
    best = max(gain, key=lambda pair: gain[pair])
    largest = max(config.weights)
    return [
        Claim(
            "discrimination alone does not help by half a point",
            "< .005",
            alone,
            bool(alone < 0.005),
        ),
        Claim("the best pair has distillation", "> 0", best[0], bool(best[0] > 0)),
        Claim(
            "distillation alone, at the largest weight, helps",
            "> 0",
            gain[largest, 0.0],
            bool(gain[largest, 0.0] > 0),
        ),
    ]


def shown(config: LambdaMap, rows: list[Row]) -> list[Row]:
    """A row for each weight of discrimination, gains in points."""
    table: dict[float, Row] = {}
    for row in rows:
        line = table.setdefault(row["discrimination"], {"discrimination": row["discrimination"]})
        line[f"distil. {row['distillation']:g}"] = 100 * row["gain"]
    return list(table.values())


@plots.style()
def _figure(config: LambdaMap, rows: list[Row]) -> Any:
    count = len(config.weights)
    grid = 100 * np.array([row["gain"] for row in rows]).reshape(count, count)
    fig = plots.figure(figsize=(6.2, 5.0))
    ax = fig.subplots()
    bound = max(np.abs(grid).max(), 1e-9)
    image = ax.imshow(grid, origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound)
    for i, j in itertools.product(range(count), repeat=2):
        ax.text(j, i, f"{grid[i, j]:+.1f}", ha="center", va="center", fontsize=8)
    ax.grid(False)
    names = [f"{w:g}" for w in config.weights]
    ax.set_xticks(range(count), names)
    ax.set_yticks(range(count), names)
    ax.set(
        title=f"{config.dataset}, {config.n} clients",
        xlabel="weight of discrimination",
        ylabel="weight of distillation",
    )
    fig.colorbar(image, label="gain over independent learning [points]")
    return fig
