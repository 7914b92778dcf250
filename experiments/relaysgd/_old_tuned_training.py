"""Training of one method on classification, for all seeds and learning rates in one program."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.tasks import Task, stack_clients


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the best learning rate gave.

    Attributes:
        row: its results, for the table.
        curves: its evaluations, ``[E, seeds]``.
        interrupted: whether Ctrl-C ended the run.
    """

    row: Row
    curves: dict[str, np.ndarray]
    interrupted: bool


def train(
    task: Task,
    parts: list[Any],
    build: Any,
    mixer: jc.Mixer,
    *,
    rates: tuple[float, ...],
    seeds: np.ndarray,
    rounds: int,
    batch_size: int,
    evaluations: int,
    context: Context,
    description: str,
    tags: Row,
) -> Outcome:
    """Trains with every (learning rate, seed) and keeps the rate that does best on validation.

    Args:
        task: data and model.
        parts: a partition of the training data for each seed.
        build: ``build(loss, learning_rate) -> Algorithm``.
        mixer: of the algorithm, for its cost.
        rates: learning rates.
        seeds: of initial model and batches.
        rounds: T.
        batch_size: per client and round.
        evaluations: points of the curves.
        context: of the experiment.
        description: for the progress bar.
        tags: fields of the row and of every line of the log.
    """
    loss, n = jc.objectives.classification(task.model.apply), len(parts[0])

    def start(rate: Any, seed: Any) -> jc.State:
        key = jax.random.key(seed)
        params = task.model.init(key, task.train.x[:1])
        return build(loss, rate).init(key, jc.replicate(params, n))

    every_rate = np.repeat(np.array(rates, np.float32), len(seeds))
    every_seed = np.tile(seeds, len(rates))
    data = stack_clients(parts, task.train, len(rates))
    fitted = jc.fit(
        build(loss, 0.0),  # the rate of each replica lies in the state of its optimiser
        jax.vmap(start)(every_rate, every_seed),
        data,
        jax.vmap(jax.random.key)(every_seed),
        num_rounds=rounds,
        sample=jc.data.minibatches(batch_size),
        evaluate=_judge(task),
        eval_every=max(1, rounds // evaluations),
        **context.fit_options(tolerant=True, **tags, learning_rate=every_rate, seed=every_seed),
        description=description,
        replicas=True,
        data_axes=jc.data.ClientData(None, 0, 0),
    )
    last = np.nan_to_num(fitted.evaluations["validation_worst_accuracy"][-1])
    best = int(last.reshape(len(rates), -1).mean(1).argmax())
    chosen = slice(best * len(seeds), (best + 1) * len(seeds))
    state = jax.tree.map(lambda leaf: leaf[chosen], fitted.state)
    final = jax.device_get(jax.vmap(jc.metrics.accuracy(task.model.apply, *task.test))(state))
    one = jax.tree.map(lambda leaf: leaf[0], jc.params_of(state))
    row = tags | {
        "learning_rate": rates[best],
        "mean_accuracy": final["mean_accuracy"].mean(),
        "worst_accuracy": final["worst_accuracy"].mean(),
        "worst_std": final["worst_accuracy"].std(),
        "averaged_accuracy": final["averaged_model_accuracy"].mean(),
        "consensus_distance": fitted.evaluations["consensus_distance"][-1, chosen].mean(),
        "kB_sent": jc.metrics.bytes_sent(mixer, one).mean() / 1000,
    }
    curves = {k: v if k == "round" else v[:, chosen] for k, v in fitted.evaluations.items()}
    return Outcome(row, curves, fitted.stopped == "interrupted")


def _judge(task: Task) -> Any:
    held = {"validation": task.validation, "test": task.test}
    judges = {
        name: jc.metrics.accuracy(task.model.apply, some.x[: task.seen], some.y[: task.seen])
        for name, some in held.items()
    }

    def evaluate(state: jc.State) -> dict[str, Any]:
        named = {f"{k}_{m}": v for k, judge in judges.items() for m, v in judge(state).items()}
        return named | {"consensus_distance": jc.metrics.consensus_distance(state)}

    return evaluate
