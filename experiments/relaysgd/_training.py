"""Training of one method on classification, tuned by its worst client on validation data."""

from typing import Any

import jax
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row, at_most
from experiments.fields import Count, Positive, Settings
from experiments.relaysgd._methods import Method, decayed
from experiments.tasks import Task
from experiments.training import Tune, partitions, replicated, train_replicas


class Config(Settings):
    """Data, model and training of a comparison."""

    dataset: str = "digits"  # or a TFDS image set
    n: Count = 16  # clients
    learning_rates: tuple[Positive, ...] = (0.3, 1.0, 3.0, 10.0)  # before a method's factors
    num_seeds: Count = 3
    seed: int = 0  # the first seed, of partition, initial model, batches and lost messages
    rounds: Count = 400  # T
    decay: bool = False  # whether learning rates follow the paper's schedule, shortened to T
    batch_size: Count = 32  # examples per client and round
    hidden: Count = 64  # width of the hidden layer of the MLP
    evaluations: Count = 20  # points of the curves
    eval_examples: Count = 2000  # test examples for the curves (the table uses all)

    def partition(self, labels: np.ndarray, alpha: float) -> list[Any]:
        """Draws a Dirichlet partition for each seed."""
        return [jc.data.dirichlet(labels, self.n, alpha, seed=seed) for seed in self.seeds]


SMOKE = {
    "n": 4,
    "rounds": 6,
    "num_seeds": 2,
    "learning_rates": (1.0, 3.0),
    "hidden": 8,
    "evaluations": 2,
}


def train(
    context: Context,
    config: Config,
    task: Task,
    parts: list[Any],
    method: Method,
    momentum: float,
    tags: Row,
) -> tuple[Row, dict[str, np.ndarray]]:
    """Trains all learning rates and seeds; returns the row of the best rate and its curves.

    ``parts`` contains a partition for each seed; tags become fields of the row.
    """
    loss = jc.objectives.classification(task.model.apply)
    mixer = method.mixer(config.n)

    def build(setting: Any) -> jc.Algorithm:
        rate = setting["learning_rate"]
        rate = decayed(rate, config.rounds) if config.decay else rate
        return method.build(loss, rate, momentum, mixer)

    # momentum lengthens a step by 1 / (1 - mu), and delays shorten it by the correction
    scale = (1 - momentum) * method.correction(config.n)
    done = train_replicas(
        context,
        build,
        replicated(task.model, config.n, task.train.x[:1]),
        jc.data.minibatches(partitions(parts, task.train), config.batch_size),
        settings={"learning_rate": [scale * rate for rate in config.learning_rates]},
        evaluate=task.evaluate,
        tune=Tune("validation_worst_accuracy"),
        tags=tags,
    )
    final = done.measure(jc.metrics.accuracy(task.model.apply, *task.test))
    one = jax.tree.map(lambda leaf: leaf[0], jc.params_of(done.state()))
    row = tags | {
        "learning_rate": done.setting()["learning_rate"],
        "grid_rate": config.learning_rates[done.best or 0],
        "mean_accuracy": final["mean_accuracy"].mean(),
        "worst_accuracy": final["worst_accuracy"].mean(),
        "worst_std": final["worst_accuracy"].std(),
        "averaged_accuracy": final["averaged_model_accuracy"].mean(),
        "consensus_distance": done.last()["consensus_distance"].mean(),
        "kB_sent": jc.metrics.bytes_sent(mixer, one).mean() / 1000,
    }
    return row, done.curves()


def inside_grid(config: Any, rows: list[Row]) -> Claim:
    """Claims that no best learning rate is at an end of the grid, where a better one may follow."""
    ends = {min(config.learning_rates), max(config.learning_rates)}
    count = sum(row["grid_rate"] in ends for row in rows)
    return at_most("runs whose best learning rate is the first or last of the grid", count, 0)
