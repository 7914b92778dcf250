"""Table 5's question: what message loss does to each method on heterogeneous data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.relaysgd.kinds import Unreliable
from experiments.relaysgd.methods import (
    corrected,
    double_trees,
    quasi_global,
    shared_models,
)
from experiments.relaysgd.tuned_training import train
from experiments.tasks import make_task
from jcollab import plots

# mean accuracy in the paper's Table 5 (VGG-11 on CIFAR-10, alpha .01, one seed) at loss 0, 1, 10 %
PAPER = {
    "RelaySGD, refreshed fill": (0.892, 0.893, 0.893),
    "D-PSGD + QGM": (0.693, None, None),
    "D2": (0.874, None, None),
    "SGP": (0.885, 0.886, 0.881),
}
PAPER_LOSS = (0.0, 0.01, 0.1)


def _methods(n: int, loss: float) -> dict[str, tuple[Callable[..., Any], jc.Mixer]]:
    lossy = jc.channels.drop(loss)
    ring = jc.neighborhood(jc.topology.ring(n), jc.aggregators.weighted(), lossy)
    return {
        "RelaySGD, refreshed fill": (
            shared_models, double_trees(n, fill="previous", channel=lossy)
        ),
        "RelaySGD, initial fill": (shared_models, double_trees(n, fill="initial", channel=lossy)),
        "D-PSGD + QGM": (quasi_global, ring),
        "D2": (corrected, ring),
        "SGP": (shared_models, jc.one_peer_exponential(n, rounds=2, channel=lossy)),
    }  # fmt: skip


def run(config: Unreliable, context: Context) -> list[Row]:
    """Trains every method at every probability of loss."""
    task = make_task(config.dataset, config.hidden, config.eval_examples)
    seeds = config.seed + np.arange(config.num_seeds)
    parts = [jc.data.dirichlet(task.train.y, config.n, config.alpha, seed=s) for s in seeds]
    tree = jc.topology.learning_rate_correction(jc.topology.binary_tree(config.n))
    rows: list[Row] = []
    curves: dict[tuple[str, float], dict[str, np.ndarray]] = {}
    for loss in config.losses:
        for name, (build, mixer) in _methods(config.n, loss).items():
            scale = (1 - config.momentum) * (tree if name.startswith("RelaySGD") else 1.0)

            def algorithm(
                objective: Any, rate: Any, build: Any = build, mixer: Any = mixer
            ) -> jc.Algorithm:
                return build(objective, rate, config.momentum, mixer)

            done = train(
                task,
                parts,
                algorithm,
                mixer,
                rates=tuple(scale * rate for rate in config.learning_rates),
                seeds=seeds,
                rounds=config.rounds,
                batch_size=config.batch_size,
                evaluations=config.evaluations,
                context=context,
                description=f"{name}, loss {loss:g}",
                tags={"algorithm": name, "loss": loss},
            )
            paper = PAPER.get(name)
            known = paper[PAPER_LOSS.index(loss)] if paper and loss in PAPER_LOSS else None
            rows.append(done.row | {"paper_cifar10": known})
            curves[name, loss] = done.curves
            if done.interrupted:
                context.stop.set()
                return rows
    context.save(_figure(config, curves), "unreliable")
    return rows


def claims(config: Unreliable, rows: list[Row]) -> list[Claim]:
    """The refreshed fill bears loss; the common initial model as a stand-in does not."""
    mean = {(row["algorithm"], row["loss"]): row["mean_accuracy"] for row in rows}
    most, least = max(config.losses), min(config.losses)
    refreshed = mean["RelaySGD, refreshed fill", most]
    lost = mean["RelaySGD, refreshed fill", least] - refreshed
    behind = refreshed - mean["RelaySGD, initial fill", most]
    where = f"loss {most:g}, mean accuracy"
    return [
        Claim(
            f"RelaySGD with the refreshed fill bears the loss ({where}, against loss {least:g})",
            "within 0.01", lost, lost <= 0.01,
        ),
        Claim(f"the initial fill is visibly worse ({where})", ">= 0.02", behind, behind >= 0.02),
    ]  # fmt: skip


@plots.style()
def _figure(config: Unreliable, curves: dict[tuple[str, float], dict[str, np.ndarray]]) -> Any:
    fig = plots.figure(figsize=(4.2 * len(config.losses), 4.0))
    panels = fig.subplots(1, len(config.losses), sharey=True, squeeze=False)[0]
    for ax, loss in zip(panels, config.losses, strict=True):
        chosen = [name for name, at in curves if at == loss]
        for color, name in zip(plots.COLORS, chosen, strict=False):
            curve = curves[name, loss]
            plots.band(ax, curve["round"], curve["test_mean_accuracy"].T, color=color, label=name)
        ax.set(title=f"{loss:.0%} of messages lost", xlabel="communication rounds", ylim=(0, 1.02))
    panels[0].set_ylabel("test accuracy, mean over clients")
    panels[0].legend(loc="lower right", fontsize=9)
    return fig
