"""A small convolutional network: measured and estimated knees along training.

Critical parameters, arXiv 2103.02351; a question of this repository.

    python -m experiments critical_params network

A CNN on digits: measured and estimated knees in four stages of training.
Cost: 12 minutes on 2 cores; --dataset mnist.
Expected: knees grow 15 to 19 times during training; estimates by curvature fit most delays.
"""

import functools
import itertools
from typing import Annotated

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above
from experiments.critical_params import _common as common
from experiments.fields import EMPTY, Count, Natural, Positive, Settings
from jcollab import plots

EVALUATED = 512  # examples for measuring the loss during runs
TRAINED = 16  # batch size of the training between stages


class Config(Settings):
    """Network, data, batches and delays."""

    dataset: str = "digits"  # or a TFDS image set such as "mnist"
    channels: Annotated[tuple[int, ...], EMPTY] = (8, 16)  # of the convolutions
    hidden: Count = 32  # width of the dense layer
    batches: tuple[Count, ...] = (1, 4, 16, 64, 256)  # values of b
    delays: tuple[Natural, ...] = (0, 3, 10, 30, 100)  # values of tau
    examples: Count = 1437  # at most so many
    # training losses at the end of each stage; the first stage starts at initialization
    losses: tuple[Positive, ...] = (0.5, 0.2, 0.1, 0.05)
    num_seeds: Count = 4
    max_steps: Count = 20_000  # runs end after so many steps
    seed: int = 0  # the first one

    def _check(self) -> None:
        if list(self.losses) != sorted(set(self.losses), reverse=True):
            raise ValueError(f"losses must be falling, got {self.losses}")


PRESETS = {"network": Config()}
SMALL = {"channels": (2,), "hidden": 4, "batches": (1,), "delays": (0,), "examples": 32}
SMOKE = {"network": SMALL | {"num_seeds": 1, "max_steps": 20, "losses": (2.29, 2.2)}}


def run(config: Config, context: Context) -> Rows:
    """Measures all stages, each from a network that has been trained to the loss before."""
    images = jc.data.load(config.dataset)
    chosen = np.random.default_rng(config.seed).permutation(len(images.y))[: config.examples]
    examples = jc.data.Dataset(images.x[chosen], images.y[chosen])
    model = jc.models.CNN(10, channels=config.channels, hidden=(config.hidden,), kernel=3)
    loss, key = jc.objectives.classification(model.apply), jax.random.key(config.seed)
    start, seeds = model.init(key, examples.x[:1]), jax.random.split(key, config.num_seeds)
    part = np.random.default_rng(0).permutation(len(chosen))[:EVALUATED]
    build, batch = functools.partial(common.delayed_sgd, loss), min(TRAINED, len(chosen))
    for before, target in itertools.pairwise((None, *config.losses)):
        name = f"loss {before:g} to {target:g}" if before else f"start to loss {target:g}"
        steps = config.max_steps
        stage = common.Problem(name, loss, examples, start, 0.0, target, steps, 5, part)
        yield from common.measure(stage, config, 0.05, seeds, context)
        training = stage._replace(evaluated=slice(EVALUATED), width=3)
        trained = common.tune(training, build, 0.2, seeds[:1], context, b=batch)
        if trained is None:
            return
        start = jax.tree.map(lambda leaf: leaf[0], trained.params)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Estimates are within a factor of 2, and noise over signal grows during training."""
    yield from common.claims(config, rows)
    lines = [line for line in common.knees(rows) if "batch_knee" in line]
    if len(lines) > 1:
        growth = lines[-1]["batch_knee"] / lines[0]["batch_knee"]
        claim = "the measured critical batch grows during training (last stage over first)"
        yield above(claim, growth, 1)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws the measurements of every stage, and knees and estimates along training."""
    common.figures("network", config, rows, context)
    fig, ax = plots.subplots(figsize=(6.4, 4.4))
    lines = common.knees(rows)
    labels = {f"{kind}_knee": f"measured, {kind}" for kind in common.KINDS}
    labels |= {"estimated": "estimated by $2 L (f - f^*)$", "curvature": "weighted by curvature"}
    for (name, label), color in zip(labels.items(), plots.COLORS, strict=False):
        own = [
            (end, line[name])
            for end, line in zip(config.losses, lines, strict=False)
            if name in line
        ]
        style = "o-" if name.endswith("knee") else "s--"
        if own:
            ax.loglog(*zip(*own, strict=True), style, color=color, label=label)
    ax.set_xticks(config.losses, [f"{loss:g}" for loss in config.losses])
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.set(xlabel="training loss at the end of a stage", ylabel="critical parameter")
    ax.legend(fontsize=9)
    context.save(fig, "along_training")


shown = common.shown
