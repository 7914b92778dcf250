"""Training of one method on classification, tuned by its worst client on validation data."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.tasks import Task
from experiments.training import Tune, partitions, train_replicas


def train(
    context: Context,
    task: Task,
    parts: list[Any],
    mixer: jc.Mixer,
    build: Any,
    config: Any,
    *,
    rates: tuple[float, ...],
    tags: Row,
) -> tuple[Row, dict[str, np.ndarray]]:
    """Trains with every learning rate and seed: the row of the best rate, and its curves.

    Args:
        context: of the experiment.
        task: data and model.
        parts: a partition of the training data for each seed.
        mixer: of the algorithm, for its cost.
        build: ``build(loss, learning_rate) -> Algorithm``.
        config: with ``seed``, ``num_seeds``, ``rounds``, ``batch_size`` and ``evaluations``.
        rates: learning rates.
        tags: fields of the row and of every line of the log.
    """
    loss = jc.objectives.classification(task.model.apply)
    done = train_replicas(
        context,
        lambda setting: build(loss, setting["learning_rate"]),
        task.start(len(parts[0])),
        partitions(parts, task.train),
        rounds=config.rounds,
        seeds=config.seed + np.arange(config.num_seeds),
        settings={"learning_rate": rates},
        sample=jc.data.minibatches(config.batch_size),
        evaluate=task.evaluate,
        evaluations=config.evaluations,
        tune=Tune("validation_worst_accuracy"),
        description=", ".join(
            f"{value:g}" if isinstance(value, float) else str(value) for value in tags.values()
        ),
        tags=tags,
    )
    final = done.measure(jc.metrics.accuracy(task.model.apply, *task.test))
    one = jax.tree.map(lambda leaf: leaf[0], jc.params_of(done.state()))
    row = tags | {
        "learning_rate": done.setting()["learning_rate"],
        "mean_accuracy": final["mean_accuracy"].mean(),
        "worst_accuracy": final["worst_accuracy"].mean(),
        "worst_std": final["worst_accuracy"].std(),
        "averaged_accuracy": final["averaged_model_accuracy"].mean(),
        "consensus_distance": done.last()["consensus_distance"].mean(),
        "kB_sent": jc.metrics.bytes_sent(mixer, one).mean() / 1000,
    }
    return row, done.curves()
