"""Gain over independent learning for a grid of both weights, all of them in one program.

Representation sharing, arXiv 2211.10943, Figure 2.

    python -m experiments rep_sharing lambda_map

Fig. 2 on digits: 64 pairs of weights in one program (MNIST: --dataset mnist ...).
Cost: 2 minutes on 2 cores.
Expected: the gain comes from distillation.
"""

import itertools
from typing import Annotated

import numpy as np

from experiments.contract import Claims, Context, Row, above, below, pivot
from experiments.fields import Bound, NonNegative
from experiments.rep_sharing import _training
from experiments.rep_sharing._training import TINY, train
from jcollab import plots


class Config(_training.Config):
    """A grid of weights."""

    n: Annotated[int, Bound(at_least=2, at_most="examples")] = 5  # clients
    # values of lambda_KD and of lambda_disc
    weights: tuple[NonNegative, ...] = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)

    def _check(self) -> None:
        if 0.0 not in self.weights or max(self.weights) == 0:
            raise ValueError(f"weights must contain 0 and positive numbers, got {self.weights}")


PRESETS = {"lambda_map": Config(rounds=60, num_seeds=1)}
SMOKE = {"lambda_map": TINY | {"n": 3, "weights": (0.0, 1.0)}}


def run(config: Config, context: Context) -> list[Row]:
    """Trains with every pair of weights; (0, 0) is independent learning."""
    pairs = list(itertools.product(config.weights, repeat=2))
    pull, separate = zip(*pairs, strict=True)
    settings = {"distillation_weight": pull, "discrimination_weight": separate}
    clients = {config.model: np.arange(config.n)}
    ours = _training.methods(config, config.n)["ours"]
    accuracies, _ = train(config, context, clients, ours, settings, method="ours")
    means = accuracies.mean(-1)  # [K, S]
    gains = means - means[pairs.index((0, 0))]
    names = ("distillation", "discrimination", "accuracy", "gain")
    columns = (pull, separate, means.mean(1), gains.mean(1))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The gain comes from distillation."""
    gain = {(row["distillation"], row["discrimination"]): row["gain"] for row in rows}
    alone = max(value for (pull, _), value in gain.items() if pull == 0)
    best = max(gain, key=lambda pair: gain[pair])
    pulled = gain[max(config.weights), 0.0]
    yield below("discrimination alone does not help by half a point", alone, 0.005)
    yield above("the best pair has distillation", best[0], 0)
    yield above("distillation alone, at the largest weight, helps", pulled, 0)


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns gains in points, a row for each weight of discrimination."""
    points = [row | {"gain": 100 * row["gain"]} for row in rows]
    return pivot(points, "discrimination", "distillation", "gain")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws gains as a map."""
    grid = 100 * np.array([row["gain"] for row in rows]).reshape(len(config.weights), -1)
    fig, ax = plots.subplots(figsize=(6.2, 5.0))
    bound = max(np.abs(grid).max(), 1e-9)
    image = ax.imshow(grid, origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound)
    for (i, j), value in np.ndenumerate(grid):
        ax.text(j, i, f"{value:+.1f}", ha="center", va="center", fontsize=8)
    ax.grid(False)
    for name, axis in (("discrimination", ax.xaxis), ("distillation", ax.yaxis)):
        axis.set_ticks(range(len(grid)), [f"{weight:g}" for weight in config.weights])
        axis.set_label_text(f"weight of {name}")
    ax.set_title(f"{config.dataset}, {config.n} clients")
    fig.colorbar(image, label="gain over independent learning [points]")
    context.save(fig, "gain")
