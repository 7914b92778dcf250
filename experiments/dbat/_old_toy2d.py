"""Slabs in the plane: the second member must find them where the first one cuts straight."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.dbat import training
from experiments.dbat.kinds import Toy2d
from experiments.dbat.models import leaky
from jcollab import ensembles, plots

SIDE = 3.0  # the plane is looked at in [-3, 3]^2
METHODS = ("D-BAT", "deep ensemble")


def run(config: Toy2d, context: Context) -> list[Row]:
    """One row for each method and seed."""
    data = jc.data.slabs(config.points, np.random.default_rng(config.seed))
    model = leaky(config.hidden)
    seeds = [config.seed + i for i in range(config.num_seeds)]
    optimizer = optax.adam(config.learning_rate)
    plan = training.Plan(
        start=lambda key: torch_like(model.init(key, data.x[:1]), key),
        predict=lambda params, x: model.apply(params, x),
        x=data.x,
        y=data.y,
        pools={"searched": data.x},
        members=2,
        rounds=(config.rounds[0], config.rounds[1]),
        batch_size=config.batch_size,
        optimizers=(optimizer, optimizer),
        options={
            "epsilon": config.epsilon,
            "search": jc.objectives.disagreement_points(
                num_steps=config.steps, step_size=config.step_size, radius=config.radius
            ),
        },
    )
    conditions = [
        training.Condition(name, alpha, "searched")
        for name, alpha in zip(METHODS, (config.alpha, 0.0), strict=True)
    ]
    outcome = training.train(plan, conditions, seeds, context)
    if not outcome.finished:
        return []
    logits_of = ensembles.member_logits(model.apply, batch_size=10_000)
    axis = np.linspace(-SIDE, SIDE, config.grid)
    plane = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype(np.float32)
    flipped = data.x * np.array([-1, 1], np.float32)
    rows: list[Row] = []
    drawn = None
    for condition in conditions:
        label = training.label_of(condition)
        for i, seed in enumerate(seeds):
            models = jax.tree.map(lambda leaf: leaf[i], outcome.params[label])  # noqa: B023
            seen, turned, grid = (logits_of(models, x) for x in (data.x, flipped, plane))
            row: Row = {"method": condition.name, "seed": seed}
            for name, logits in (("accuracy", seen), ("flipped_accuracy", turned)):
                for m, value in enumerate(ensembles.accuracies(logits, data.y)[0]):
                    row[f"{name}_{m + 1}"] = 100 * float(value)
            row["disagree_on_plane"] = 1 - float(ensembles.agreement_rate(grid)[0, 1])
            spread = ensembles.entropy(ensembles.ensemble_probabilities(grid))
            row["entropy_on_plane"] = float(spread.mean())
            row["agreement"] = float(outcome.logs[label]["agreement"][i, -100:].mean())
            rows.append(row)
            if drawn is None:
                drawn = ensembles.probabilities(grid)[..., 1], spread
    assert drawn is not None
    context.save(_figure(config, data, *(np.asarray(part) for part in drawn)), "boundaries")
    return rows


def torch_like(params: Any, key: jax.Array) -> Any:
    """Uniform in +-1/sqrt(fan in), biases too: lines of the first layer that miss the origin."""
    leaves, form = jax.tree.flatten_with_path(params)
    drawn = []
    for i, (path, leaf) in enumerate(leaves):
        layer = next(str(p.key) for p in path if "Dense" in str(p.key))
        fan_in = params["params"][layer]["kernel"].shape[0]
        own = jax.random.fold_in(key, i)
        drawn.append(jax.random.uniform(own, leaf.shape, leaf.dtype, -1, 1) / jnp.sqrt(fan_in))
    return jax.tree.unflatten(form, drawn)


def claims(config: Toy2d, rows: list[Row]) -> list[Claim]:
    """The first member knows x only, the second does without it, on every seed."""
    own = [row for row in rows if row["method"] == "D-BAT"]
    plain = [row for row in rows if row["method"] == "deep ensemble"]
    fit = min(row[f"accuracy_{m}"] for row in own for m in (1, 2))
    first = max(row["flipped_accuracy_1"] for row in own)
    second = min(row["flipped_accuracy_2"] for row in own)
    alone = max(row["flipped_accuracy_2"] for row in plain)
    gap = min(row["disagree_on_plane"] for row in own)
    return [
        Claim("both members fit the data (every seed)", ">= 99.5 %", fit, fit >= 99.5),
        Claim("first member after x changes its sign", "<= 2 % (recorded 0)", first, first <= 2),
        Claim(
            "second member after x changes its sign",
            ">= 97 % (recorded 99.3, 98.5)", second, second >= 97,
        ),
        Claim("second member of a deep ensemble, likewise", "<= 2 %", alone, alone <= 2),
        Claim(
            "members disagree on a part of the plane", ">= 25 % (recorded 33)", gap, gap >= 0.25
        ),
    ]  # fmt: skip


@plots.style()
def _figure(config: Toy2d, data: jc.data.Dataset, p: np.ndarray, spread: np.ndarray) -> Any:
    fig = plots.figure(figsize=(13, 4.4))
    panels = fig.subplots(1, 3)
    some = slice(0, 600)
    shape = (config.grid, config.grid)
    box = (-SIDE, SIDE, -SIDE, SIDE)
    titles = ("first member: P(label 1)", "second member: P(label 1)", "entropy of the mean")
    for ax, values, title in zip(panels, (*p, spread), titles, strict=True):
        name = "viridis" if title.startswith("entropy") else "RdBu_r"
        image = ax.imshow(
            values.reshape(shape), origin="lower", extent=box, cmap=name, vmin=0,
            vmax=np.log(2) if name == "viridis" else 1, aspect="equal",
        )  # fmt: skip
        fig.colorbar(image, ax=ax, shrink=0.8)
        for label, color in ((0, plots.COLORS[0]), (1, plots.COLORS[1])):
            points = data.x[some][data.y[some] == label]
            ax.scatter(*points.T, s=5, color=color, edgecolor="black", linewidth=0.4)
        ax.set(title=title, xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
        ax.grid(visible=False)
    for ax, values in zip(panels, p, strict=False):
        axis = np.linspace(-SIDE, SIDE, config.grid)
        ax.contour(axis, axis, values.reshape(shape), levels=[0.5], colors="black")
    return fig
