"""Training on images: one method, all of its settings and seeds in one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.grad_align.kinds import Training
from experiments.grad_align.summary import is_broken

Dataset = jc.data.Dataset
MEASURED = {
    "test_loss": "test_loss",
    "mean_loss": "train_loss",
    "gradient_variance": "gradient_variance",
}


@dataclasses.dataclass(frozen=True)
class Task:
    """Data and model.

    Attributes:
        shards: leaves ``[n, m, ...]``, all examples of every client.
        test: for the results.
        model: flax module.
    """

    shards: Dataset
    test: Dataset
    model: Any


def make_task(config: Training, deal: Callable[[np.ndarray], list[np.ndarray]]) -> Task:
    """Loads the data, and deals out as many examples to every client as the smallest shard has.

    Args:
        config: data set and network.
        deal: ``deal(labels) -> parts``, the examples of every client.

    Raises:
        ValueError: if a shard has fewer examples than the configuration asks for.
    """
    train, test = (jc.data.load(config.dataset, split) for split in ("train", "test"))
    parts = deal(train.y)
    least = min(map(len, parts))
    if config.examples is not None and config.examples > least:
        raise ValueError(f"examples must be at most {least} (a shard), got {config.examples}")
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(part)[: config.examples or least] for part in parts])
    classes = int(train.y.max()) + 1
    model: Any = jc.models.MLP(classes, (config.hidden,))
    if config.network == "cnn":
        model = jc.models.CNN(classes, hidden=(), padding="VALID")
    return Task(Dataset(np.asarray(train.x[rows]), train.y[rows]), test, model)


class Swept(NamedTuple):
    """The shared part of a state, and the value that its run is about."""

    server: Any
    value: jax.Array


def swept(build: Callable[[Any], jc.Algorithm]) -> jc.Algorithm:
    """An algorithm whose setting lies in its state, so that replicas may differ in it.

    Args:
        build: ``build(value) -> Algorithm`` for a traced value.

    Returns:
        An algorithm with ``init(key, params, value)``.
    """

    def init(key: Any, params: Any, value: Any) -> jc.State:
        state = build(value).init(key, params)
        return state._replace(shared=Swept(state.shared, jnp.asarray(value, jnp.float32)))

    def update(state: jc.State, batch: Any, key: Any) -> tuple[jc.State, Any]:
        value = state.shared.value
        new, log = build(value).update(plain(state), batch, key)
        return new._replace(shared=Swept(new.shared, value)), log

    return jc.Algorithm(init, update)


def plain(state: jc.State) -> jc.State:
    """The state of the algorithm itself."""
    return state._replace(shared=state.shared.server)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method gave.

    Attributes:
        rows: one for each value and seed.
        curves: evaluations ``[values, E, seeds]``, and ``round [E]``.
        interrupted: whether Ctrl-C ended the run.
    """

    rows: list[Row]
    curves: dict[str, np.ndarray]
    interrupted: bool


def train(
    task: Task,
    config: Training,
    build: Callable[[Any, Any], jc.Algorithm],
    values: tuple[float, ...],
    context: Context,
    *,
    clients: int,
    sample: Any,
    method: str,
) -> Outcome:
    """Trains with every value and seed, and measures at the server's model over ALL clients.

    Args:
        task: data and model.
        config: rounds, seeds, evaluations.
        build: ``build(loss, value) -> Algorithm``.
        values: settings of the method.
        context: of the experiment.
        clients: number of clients that the algorithm sees.
        sample: what it gets of the shards in a round.
        method: its name, for the progress bar and the log.
    """
    loss = jc.objectives.classification(task.model.apply)
    algorithm = swept(lambda value: build(loss, value))
    seeds = config.seed + np.arange(config.num_seeds)

    def start(value: Any, seed: Any) -> jc.State:
        key = jax.random.key(seed)
        params = task.model.init(key, task.test.x[:1])
        return algorithm.init(key, jc.replicate(params, clients), value)

    every_value = np.repeat(np.array(values, np.float32), len(seeds))
    every_seed = np.tile(seeds, len(values))
    shards = jax.tree.map(jnp.asarray, task.shards)
    fitted = jc.fit(
        algorithm,
        jax.vmap(start)(every_value, every_seed),
        shards,
        jax.vmap(jax.random.key)(every_seed),
        num_rounds=config.rounds,
        sample=sample,
        evaluate=_judge(task, loss, shards, config.eval_examples),
        eval_every=max(1, config.rounds // config.evaluations),
        **context.fit_options(tolerant=True, method=method, value=every_value, seed=every_seed),
        description=method,
        replicas=True,
    )
    whole = jc.metrics.accuracy(task.model.apply, *task.test)
    measured = fitted.evaluations
    rows, classes = [], int(task.test.y.max()) + 1
    for i, (value, seed) in enumerate(zip(every_value, every_seed, strict=True)):
        last = {said: float(measured[name][-1, i]) for name, said in MEASURED.items()}
        row = {"method": method, "value": float(f"{value:.6g}"), "seed": int(seed)}
        own = plain(jax.tree.map(lambda leaf: leaf[i], fitted.state))  # noqa: B023
        row |= {"test_accuracy": float(whole(own)["averaged_model_accuracy"])} | last
        rows.append(row | {"broken": is_broken(last["train_loss"], classes)})
    curves = {
        name: v if name == "round" else np.moveaxis(v.reshape(len(v), len(values), -1), 1, 0)
        for name, v in measured.items()
    }
    return Outcome(rows, curves, fitted.stopped == "interrupted")


def _judge(task: Task, loss: Any, shards: Any, seen: int) -> Callable[[jc.State], Any]:
    chosen = np.random.default_rng(0).permutation(len(task.test.y))[:seen]
    test = Dataset(jnp.asarray(task.test.x[chosen]), jnp.asarray(task.test.y[chosen]))
    spread = jc.metrics.gradient_variance(loss, shards)

    def evaluate(state: jc.State) -> dict[str, Any]:
        own = plain(state)
        model = jax.tree.map(lambda leaf: leaf[0], jc.params_of(own))
        value, metrics = loss(model, test, jax.random.key(0))
        said = {"test_loss": value, "test_accuracy": metrics["accuracy"]}
        return said | spread(own)

    return evaluate
