"""Data, models, and one method trained with all seeds in one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Context
from experiments.rep_sharing.kinds import Base
from experiments.rep_sharing.methods import NUM_CLASSES
from experiments.tasks import stack_clients
from jcollab.core import lift_predict

Dataset = jc.data.Dataset


class Trained(NamedTuple):
    """What a method leaves.

    Attributes:
        accuracy: of every client on all test data, ``[S, n]``.
        rounds: of the curve, ``[E]``.
        clients: accuracy of every client on some test data, ``[E, S, n]``.
        interrupted: whether Ctrl-C ended it early.
    """

    accuracy: np.ndarray
    rounds: np.ndarray
    clients: np.ndarray
    interrupted: bool


def load(config: Base) -> tuple[Dataset, Dataset]:
    """The first training examples and the test set, standardised by one mean and deviation."""
    train, test = (jc.data.load(config.dataset, split) for split in ("train", "test"))
    if len(train.y) < config.examples:
        raise ValueError(f"examples must be in 1..{len(train.y)}, got {config.examples}")
    x, y = train.x[: config.examples], train.y[: config.examples]
    mean, deviation = x.mean(), x.std()
    return Dataset((x - mean) / deviation, y), Dataset((test.x - mean) / deviation, test.y)


def deal(labels: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """Equal parts with nearly the same share of every class."""
    mixed = np.random.default_rng(seed).permutation(len(labels))
    ordered = mixed[np.argsort(labels[mixed], kind="stable")]
    return [ordered[i::n] for i in range(n)]


def make_model(config: Base) -> Any:
    """The flax module of the configuration."""
    if config.model == "lenet5":
        channels = 3 if config.dataset == "cifar10" else 1
        return jc.models.LeNet5(NUM_CLASSES, config.num_features, channels)
    if config.model == "mlp":
        return jc.models.FeatureMLP(NUM_CLASSES, config.num_features)
    depth = int(config.model.removeprefix("resnet"))
    return jc.models.FeatureResNet(depth, NUM_CLASSES, config.num_features)


def functions(model: Any) -> tuple[Any, ...]:
    """``init(key, x) -> (params, extra)``, ``predict(params, extra, x)`` and parts of a group."""
    if isinstance(model, jc.models.FeatureResNet):
        features, head, look = jc.models.parts_with_statistics(model)

        def init(key: Any, x: Any) -> tuple[Any, Any]:
            variables = model.init(key, x)
            return variables["params"], variables["batch_stats"]

    else:
        (features, head), look = jc.models.two_parts(model), None

        def init(key: Any, x: Any) -> tuple[Any, Any]:
            return model.init(key, x), ()

    see = lift_predict(features)

    def predict(params: Any, extra: Any, x: Any) -> Any:
        return head(params, see(params, extra, x))

    return init, predict, (features, head, look)


def count_bytes(model: Any, x: Any) -> int:
    """Bytes of what FedAvg sends: a model's parameters, and its batch statistics."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), x[:1])
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def train(
    config: Base,
    context: Context,
    data: tuple[Dataset, Dataset],
    models: list[tuple[Any, int]],
    make: Callable[[Any, Any], jc.Algorithm],
    name: str,
    *,
    same_start: bool = False,
    settings: Any = None,
    whole_test: bool = True,
) -> Trained:
    """Trains clients of one or of several architectures.

    Args:
        config: the configuration.
        context: of the run.
        data: training and test set.
        models: flax modules and how many clients have each.
        make: ``make(groups, settings of one run) -> algorithm``.
        name: for the log and the bar.
        same_start: whether all clients start from one model (FedAvg).
        settings: hyper-parameters ``[R]``; every seed is run with each.
        whole_test: whether the final accuracy is on all test data.

    Returns:
        Results with S = R x seeds, settings varying slowest.
    """
    known, test = data
    several = len(models) > 1
    made = [functions(model) for model, _ in models]
    groups: Any = [
        jc.algorithms.Group(features, head, k, look)
        for (*_, (features, head, look)), (_, k) in zip(made, models, strict=True)
    ]
    groups = groups if several else groups[0]
    n = sum(k for _, k in models)
    times = 1 if settings is None else len(jax.tree.leaves(settings)[0])
    seeds = config.seed + np.arange(config.num_seeds)
    held = stack_clients([deal(known.y, n, seed) for seed in seeds], known, times)
    every_seed = np.tile(seeds, times)
    each = None
    if settings is not None:
        each = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(seeds), axis=0), settings)

    def start(seed: Any, own: Any) -> jc.State:
        key = jax.random.key(seed)
        stacked, first = [], 0
        for (init, *_), (_, k) in zip(made, models, strict=True):
            numbers = jnp.full(k, first) if same_start else first + jnp.arange(k)
            keys = jc.layout.client_keys(key, numbers)
            stacked.append(jax.vmap(init, (0, None))(keys, known.x[:1]))
            first += k
        params, extra = zip(*stacked, strict=True) if several else stacked[0]
        return make(groups, own).init(key, params, extra)

    def judge(x: Any, y: Any) -> Callable[[jc.State], Any]:
        judges = [jc.metrics.accuracy(predict, x, y, batch_size=50) for _, predict, _ in made]

        def evaluate(state: jc.State) -> jax.Array:
            clients = state.clients
            pair = (clients.params, clients.extra)
            pairs = zip(*pair, strict=True) if several else [pair]
            said = [
                one(jc.State(clients._replace(params=params, extra=extra), (), state.step))
                for one, (params, extra) in zip(judges, pairs, strict=True)
            ]
            return jnp.concatenate([s["client_accuracy"] for s in said])

        return evaluate

    seen = judge(test.x[: config.eval_examples], test.y[: config.eval_examples])
    fitted = jc.fit(
        make(groups, None) if settings is None else lambda own: make(groups, own),
        jax.vmap(start, (0, None if each is None else 0))(every_seed, each),
        held,
        jax.vmap(jax.random.key)(every_seed),
        settings=each,
        num_rounds=config.rounds,
        sample=jc.data.whole,
        evaluate=lambda state: {"accuracy": seen(state)},
        eval_every=max(1, config.rounds // config.evaluations),
        **context.fit_options(method=name, clients=n, seed=seeds),
        description=f"{name}, {n} clients",
        replicas=True,
        data_axes=jc.data.ClientData(None, 0, 0),
    )
    if whole_test:
        final = judge(test.x, test.y)
        runs = [jax.tree.map(lambda leaf: leaf[s], fitted.state) for s in range(len(every_seed))]  # noqa: B023
        accuracy = np.stack([np.asarray(final(state)) for state in runs])
    else:
        accuracy = fitted.evaluations["accuracy"][-1]
    return Trained(
        accuracy,
        fitted.evaluations["round"],
        fitted.evaluations["accuracy"],
        fitted.stopped == "interrupted",
    )
