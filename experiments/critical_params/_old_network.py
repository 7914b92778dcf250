"""A small convolutional network: measured and estimated knees, early and late in training."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params import learning
from experiments.critical_params.kinds import Network
from experiments.critical_params.steps import Task, tune

JUDGED = 512


def run(config: Network, context: Context) -> list[Row]:
    """Both stages: from a fresh network, and from one that has been trained."""
    images = jc.data.load(config.dataset)
    chosen = np.random.default_rng(config.seed).permutation(len(images.y))[: config.examples]
    examples = jc.data.Dataset(np.asarray(images.x[chosen]), np.asarray(images.y[chosen]))
    model = jc.models.CNN(10, channels=config.channels, hidden=(config.hidden,), kernel=3)
    start = model.init(jax.random.key(config.seed), examples.x[:1])
    loss = jc.objectives.classification(model.apply)
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    early, between, late = config.losses

    def stage(name: str, params: Any, target: float, guess: float) -> list[Row]:
        problem = learning.Problem(
            name, loss, examples, params, 0.0, target, JUDGED, config.max_steps, 5
        )
        return learning.measure(problem, config.batches, config.delays, guess, seeds, context)[0]

    rows = stage(f"early: loss {early:g}", start, early, 0.05)
    if context.stop.is_set():
        return rows
    trained = _train(config, loss, examples, start, between, seeds[:1], context)
    if trained is not None and not context.stop.is_set():
        rows += stage(f"late: loss {between:g} to {late:g}", trained, late, 0.05)
    if not context.stop.is_set():
        context.save(learning.figure(rows), "network")
    return rows


def _train(
    config: Network,
    loss: Any,
    examples: Any,
    start: Any,
    target: float,
    seeds: jax.Array,
    context: Context,
) -> Any:
    """A network of the loss ``target``, from mini-batches of 16."""
    import jax.numpy as jnp
    import optax

    judged = jax.tree.map(lambda leaf: jnp.asarray(leaf[:JUDGED]), examples)

    def gap(params: Any) -> Any:
        return loss(jax.tree.map(lambda leaf: leaf[0], params), judged, None)[0]

    task = Task(
        lambda rate: jc.centralized(loss, optax.sgd(rate)),
        jc.replicate(start, 1),
        jc.data.client_data(examples, [np.arange(len(examples.y))]),
        jc.data.minibatches(min(16, len(examples.y))),
        gap,
        target,
        config.max_steps,
        3,
    )
    found = tune(task, 0.2, seeds, context)
    if found.params is None:
        return None
    return jax.tree.map(lambda leaf: leaf[0], found.params)


def claims(config: Network, rows: list[Row]) -> list[Claim]:
    """Estimates within a factor of 2, and noise over signal that grows during training."""
    found = learning.knee_claims(rows)
    lines = learning.knees(rows)
    if len(lines) == 2 and all("batch_knee" in line for line in lines):
        growth = lines[1]["batch_knee"] / lines[0]["batch_knee"]
        claim = "the measured critical batch grows during training (late over early)"
        found.append(Claim(claim, "> 1", growth, growth > 1))
    return found


def shown(config: Network, rows: list[Row]) -> list[Row]:
    """Tuned steps."""
    return learning.shown(rows)
