"""Clients that share only predictions on public points: half of them disagree with the others.

After D-BAT, arXiv 2202.04414; no paper has this form.

    python -m experiments dbat collaborative

4 clients share predictions on public dominoes; two disagree with the other two.
Cost: 1 minute on 2 cores, no download.
Expected: tops shuffled: those who disagree 20 points ahead of those who learn alone.
"""

from typing import Annotated, Any

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, at_most, averaged
from experiments.dbat import _training
from experiments.dbat._training import DIGITS, TINY, cross_entropy
from experiments.fields import Bound, Count, NonNegative, Positive
from experiments.training import PARTITIONED, partitions, train_replicas

METHODS = ("alone", "disagreeing")
HALVES = ("first half", "second half")


class Config(_training.Config):
    """Clients with separate labeled examples; the second half disagrees with the first."""

    # n, an even number; the first half trains without disagreement
    clients: Annotated[int, Bound(at_least=1, multiple_of=2)] = 4
    pool: _training.Pool = "test"  # the public unlabeled set
    alpha: NonNegative = 0.5  # weight of the agreement
    rounds: Count = 600  # T
    warmup: Annotated[int, Bound(at_least=0, at_most="rounds")] = 200  # rounds without disagreement
    learning_rate: Positive = 1e-3  # of AdamW

    def _check(self) -> None:
        Bound(among=_training.HALVES).check("problem", self.problem)


PRESETS = {"collaborative": Config(**DIGITS)}
SMOKE = {"collaborative": TINY | {"rounds": 2, "warmup": 1, "clients": 2}}
# means over seeds, with the standard deviation of the headline
shown = averaged("method half", "shortcut_broken")


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each method, seed and half of the clients."""
    problem = _training.dominoes(config)
    model, n, half = problem.model, config.clients, config.clients // 2
    weights = np.kron([[0, 0], [1, 0]], np.ones((half, half)))  # the second half, with the first

    def deal(seed: int) -> list[np.ndarray]:
        order = np.random.default_rng(seed).permutation(len(problem.train.y))
        return [order[i : len(order) // n * n : n] for i in range(n)]

    def sample(data: Any, key: jax.Array, step: jax.Array) -> dict[str, jax.Array]:
        clients, pool = data
        own, public = jax.random.split(key)
        shape, sizes = (config.batch_size,), clients.mask.sum(1)
        draw = jax.vmap(lambda key, rows, size: rows[jax.random.randint(key, shape, 0, size)])
        chosen = draw(jc.layout.client_keys(own, n), clients.indices, sizes)
        batch = jax.tree.map(lambda leaf: leaf[chosen], clients.examples)
        points = pool[jax.random.randint(public, shape, 0, len(pool))]
        return {"x": batch.x, "y": batch.y, "unlabeled": jc.replicate(points, n)}

    def build(setting: Any) -> jc.Algorithm:
        return jc.algorithms.collaborative_dbat(
            cross_entropy(model.apply),
            model.apply,
            optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
            alpha=setting["alpha"],
            public=lambda batch: batch["unlabeled"][0],
            against=weights,
            warmup=config.warmup,
            **config.disagreement,
        )

    def start(algorithm: jc.Algorithm, key: jax.Array) -> jc.State:
        each = jax.vmap(lambda key: model.init(key, problem.train.x[:1]))
        return algorithm.init(each(jax.random.split(key, n)))

    clients = partitions([deal(s) for s in config.seeds], problem.train)
    done = train_replicas(
        context,
        build,
        start,
        jc.data.from_function(sample, (clients, problem.pools[config.pool])),
        settings={"alpha": [0.0, config.alpha]},
        data_axes=(PARTITIONED, None),
    )
    if not done.finished:
        return
    halves = dict(zip(HALVES, (slice(0, half), slice(half, n)), strict=True))
    for k, method in enumerate(METHODS):
        context.kept[method] = done.log(k)["agreement"]
        yield from problem.rows(done, k, "half", halves, method=method)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Disagreement finds the other feature without access to another client's data or model."""
    lines = {(line["method"], line["half"]): line for line in shown(config, rows)}
    first, second = (lines["disagreeing", half] for half in HALVES)
    free, apart = first["shortcut_broken"], second["shortcut_broken"]
    gain, ahead = apart - lines["alone", HALVES[1]]["shortcut_broken"], first["test_accuracy"]
    yield at_most("who learns freely goes by the shortcut: accuracy where it is broken", free, 65)
    yield at_least("who disagrees does not", apart, 75)
    yield at_least("gain of those over the same clients alone", gain, 20, note="points")
    yield at_least("accuracy of the first half where the shortcut holds", ahead, 95)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Accuracies of both halves on each test, and their agreement."""
    context.save(_training.figure(shown(config, rows), context.kept), "collaborative")
