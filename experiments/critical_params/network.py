"""A small convolutional network: measured and estimated knees, early and late in training.

Critical parameters, arXiv 2103.02351; a question of this repository.

    python -m experiments critical_params network

A CNN on digits: measured and estimated knees, early and late in training.
Cost: 5 minutes on 2 cores; --dataset mnist.
Expected: knees grow 8 to 15 times during training; estimates fit delays, not batches.
"""

import functools
from typing import Annotated

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above
from experiments.critical_params import _common as common
from experiments.fields import EMPTY, Count, Natural, Settings

EVALUATED = 512  # examples for measuring the loss during runs


class Config(Settings):
    """Network, data, batches and delays."""

    dataset: str = "digits"  # or a TFDS image set such as "mnist"
    channels: Annotated[tuple[int, ...], EMPTY] = (8, 16)  # of the convolutions
    hidden: Count = 32  # width of the dense layer
    batches: tuple[Count, ...] = (1, 4, 16, 64, 256)  # values of b
    delays: tuple[Natural, ...] = (0, 3, 10, 30)  # values of tau
    examples: Count = 1437  # at most so many
    # training losses at the start and the end of both stages; the first starts at initialization
    losses: tuple[float, ...] = (0.5, 0.1, 0.05)
    num_seeds: Count = 4
    max_steps: Count = 20_000  # runs end after so many steps
    seed: int = 0  # the first one

    def _check(self) -> None:
        if len(self.losses) != 3 or not self.losses[0] > self.losses[1] > self.losses[2] > 0:
            raise ValueError(f"losses must be three falling positive numbers, got {self.losses}")


PRESETS = {"network": Config()}
SMALL = {"channels": (2,), "hidden": 4, "batches": (1,), "delays": (0,), "examples": 32}
SMOKE = {"network": SMALL | {"num_seeds": 1, "max_steps": 20, "losses": (2.29, 2.2, 2.1)}}
# knees of both stages
figures = functools.partial(common.figures, "network")


def run(config: Config, context: Context) -> Rows:
    """Measures both stages: from a new network, and from a trained one."""
    images = jc.data.load(config.dataset)
    chosen = np.random.default_rng(config.seed).permutation(len(images.y))[: config.examples]
    examples = jc.data.Dataset(images.x[chosen], images.y[chosen])
    model = jc.models.CNN(10, channels=config.channels, hidden=(config.hidden,), kernel=3)
    loss, key = jc.objectives.classification(model.apply), jax.random.key(config.seed)
    fresh, seeds = model.init(key, examples.x[:1]), jax.random.split(key, config.num_seeds)
    early, between, late = config.losses
    part = np.random.default_rng(0).permutation(len(chosen))[:EVALUATED]
    name, steps = f"early: loss {early:g}", config.max_steps
    stage = common.Problem(name, loss, examples, fresh, 0.0, early, steps, 5, part)
    yield from common.measure(stage, config, 0.05, seeds, context)
    training = stage._replace(evaluated=slice(EVALUATED), target=between, width=3)
    build, batch = functools.partial(common.delayed_sgd, loss), min(16, len(chosen))
    trained = common.tune(training, build, 0.2, seeds[:1], context, b=batch)
    if trained is None:
        return
    start = jax.tree.map(lambda leaf: leaf[0], trained.params)
    name = f"late: loss {between:g} to {late:g}"
    stage = stage._replace(name=name, start=start, target=late)
    yield from common.measure(stage, config, 0.05, seeds, context)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Estimates are within a factor of 2, and noise over signal grows during training."""
    yield from common.claims(config, rows)
    lines = common.knees(rows)
    if len(lines) == 2 and all("batch_knee" in line for line in lines):
        growth = lines[1]["batch_knee"] / lines[0]["batch_knee"]
        claim = "the measured critical batch grows during training (late over early)"
        yield above(claim, growth, 1)


shown = common.shown
