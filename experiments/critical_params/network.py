"""A small convolutional network: measured and estimated knees, early and late in training.

Critical parameters, arXiv 2103.02351; a question of this repository.

    python -m experiments critical_params network

A CNN on digits: measured and estimated knees, early and late in training.
Cost: 5 minutes on 2 cores; --dataset mnist.
Expected: knees grow 8 to 15 times during training; estimates fit delays, not batches.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row, above, check
from experiments.critical_params import _knees as knees
from experiments.critical_params._tuning import Problem, tune

EVALUATED = 512  # examples that losses are measured on while runs go on


@dataclasses.dataclass(frozen=True)
class Config:
    """Network and data, and which batches and delays are tuned."""

    dataset: str = "digits"  # or a TFDS image set such as "mnist"
    channels: tuple[int, ...] = (8, 16)  # of the convolutions
    hidden: int = 32  # width of the dense layer
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)  # values of b
    delays: tuple[int, ...] = (0, 3, 10, 30)  # values of tau
    examples: int = 1437  # at most that many
    # training losses at the start and at the end of either stage; the first starts afresh
    losses: tuple[float, ...] = (0.5, 0.1, 0.05)
    num_seeds: int = 4
    max_steps: int = 20_000  # where runs end
    seed: int = 0  # the first one

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check(self, "hidden examples num_seeds max_steps batches", at_least=1)
        check(self, "delays", at_least=0)
        if len(self.losses) != 3 or not self.losses[0] > self.losses[1] > self.losses[2] > 0:
            raise ValueError(f"losses must be three falling positive numbers, got {self.losses}")


PRESETS = {"network": Config()}
SMOKE = {
    "network": {
        "channels": (2,),
        "hidden": 4,
        "batches": (1,),
        "delays": (0,),
        "examples": 32,
        "num_seeds": 1,
        "max_steps": 20,
        "losses": (2.29, 2.2, 2.1),
    },
}


def run(config: Config, context: Context) -> list[Row]:
    """Both stages: from a fresh network, and from one that has been trained."""
    images = jc.data.load(config.dataset)
    chosen = np.random.default_rng(config.seed).permutation(len(images.y))[: config.examples]
    examples = jc.data.Dataset(np.asarray(images.x[chosen]), np.asarray(images.y[chosen]))
    model = jc.models.CNN(10, channels=config.channels, hidden=(config.hidden,), kernel=3)
    loss = jc.objectives.classification(model.apply)
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    early, between, late = config.losses
    some = np.random.default_rng(0).permutation(len(examples.y))[:EVALUATED]
    fresh = Problem(
        f"early: loss {early:g}",
        loss,
        examples,
        model.init(jax.random.key(config.seed), examples.x[:1]),
        lowest=0.0,
        target=early,
        max_steps=config.max_steps,
        width=5,
        evaluated=jax.tree.map(lambda leaf: leaf[some], examples),
    )
    rows = knees.measure(fresh, config.batches, config.delays, 0.05, seeds, context)
    training = dataclasses.replace(
        fresh,
        target=between,
        width=3,
        evaluated=jax.tree.map(lambda leaf: leaf[:EVALUATED], examples),
    )
    trained = tune(
        training,
        lambda rate: jc.centralized(loss, optax.sgd(rate)),
        0.2,
        seeds[:1],
        context,
        batch=min(16, len(examples.y)),
    )
    if trained.params is None:
        return rows
    name, start = (
        f"late: loss {between:g} to {late:g}",
        jax.tree.map(lambda p: p[0], trained.params),
    )
    stage = dataclasses.replace(fresh, name=name, start=start, target=late)
    return rows + knees.measure(stage, config.batches, config.delays, 0.05, seeds, context)


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """Estimates within a factor of 2, and noise over signal that grows during training."""
    found, lines = knees.claims(config, rows), knees.knees(rows)
    if len(lines) == 2 and all("batch_knee" in line for line in lines):
        growth = lines[1]["batch_knee"] / lines[0]["batch_knee"]
        claim = "the measured critical batch grows during training (late over early)"
        found.append(above(claim, growth, 1))
    return found


shown = knees.shown


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Knees of both stages."""
    context.save(knees.figure(rows), "network")
