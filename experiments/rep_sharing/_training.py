"""Data, models, methods, and training of one method with all seeds in one program."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context, Row
from experiments.fields import Count, NonNegative, Positive, Settings
from experiments.training import Replicas, partitions, train_replicas
from jcollab import objectives
from jcollab.core import lift_predict

Dataset = jc.data.Dataset
NUM_CLASSES = 10


class Config(Settings):
    """Common fields; the defaults are the preset ``digits``."""

    dataset: str = "digits"  # or "mnist", "fashion_mnist", "cifar10" with JCOLLAB_DATA
    model: Literal["lenet5", "mlp", "resnet9", "resnet18"] = "lenet5"
    num_features: Count = 84  # d
    examples: Count = 300  # number of training examples, dealt to the clients
    rounds: Count = 100  # T, each an epoch of every client
    batch_size: Count = 8  # of a local step
    learning_rate: Positive = 1e-3  # of Adam
    distillation: NonNegative = 10.0  # lambda_KD
    discrimination: NonNegative = 1.0  # lambda_disc
    samples_per_class: Count = 10  # examples in an observation
    evaluations: Count = 10  # points of the curves
    eval_examples: Count = 360  # test examples for the curves
    num_seeds: Count = 3  # repetitions, each with its own partition and models
    seed: int = 0


# for smoke mode
TINY: Any = {"dataset": "digits", "model": "mlp", "num_features": 4, "examples": 60, "rounds": 2}
TINY |= {"evaluations": 2, "eval_examples": 20, "num_seeds": 1}


@functools.cache
def load(config: Config) -> tuple[Dataset, Dataset]:
    """Loads training and test examples, standardized by one mean and deviation."""
    train, test = (jc.data.load(config.dataset, split) for split in ("train", "test"))
    if len(train.y) < config.examples:
        raise ValueError(f"examples must be in 1..{len(train.y)}, got {config.examples}")
    x, y = train.x[: config.examples], train.y[: config.examples]
    mean, deviation = x.mean(), x.std()
    return Dataset((x - mean) / deviation, y), Dataset((test.x - mean) / deviation, test.y)


def deal(labels: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """Deals equal parts with nearly equal shares of every class."""
    mixed = np.random.default_rng(seed).permutation(len(labels))
    ordered = mixed[np.argsort(labels[mixed], kind="stable")]
    return [ordered[i::n] for i in range(n)]


def make_model(config: Config, name: str) -> Any:
    """Builds a flax module: the model of the configuration, or "deep mlp"."""
    sizes = NUM_CLASSES, config.num_features
    if name.startswith("resnet"):
        return jc.models.FeatureResNet(int(name.removeprefix("resnet")), *sizes)
    if name == "lenet5":
        return jc.models.LeNet5(*sizes, 3 if config.dataset == "cifar10" else 1)
    return jc.models.FeatureMLP(*sizes, **({"hidden": (128, 64)} if name == "deep mlp" else {}))


def methods(config: Config, n: int) -> dict[str, dict[str, Any]]:
    """Returns the arguments of :func:`jcollab.representation_sharing` for a method.

    ``ours`` follows the released code: its constants, the pooled mean, including the client itself.
    ``ours paper`` has the constants and the mean of means of the paper; ``ours others`` excludes
    the client's own messages. ``FD`` follows the released code, ``FD others`` Jeong et al. 2018
    (the other clients' logits, cross-entropy). ``FedProto`` is distillation alone, weight 1.
    """
    pull, separate = config.distillation, config.discrimination
    ours = {
        "mixer": jc.server(),
        "observer": jc.mixing.random_peer(),
        "weighting": "samples",
        "samples_per_class": config.samples_per_class,
        "objective": objectives.representation_sharing(pull, separate),
    }
    alone = {"mixer": None, "objective": objectives.independent()}
    logits = {"mixer": jc.server(), "message": "logits", "weighting": "samples"}
    others = {"weighting": "clients", "own_share": 1 / n}
    paper = objectives.representation_sharing(pull, separate, constants="paper")
    entropy = objectives.federated_distillation(1.0, form="cross_entropy")
    proto = {"observer": None, "objective": objectives.representation_sharing(1.0, 0.0)}
    return {
        "IL": alone,
        "CL": alone,
        "FL": alone | {"model_mixer": jc.server()},
        "FD": logits | {"objective": objectives.federated_distillation(pull)},
        "FD others": logits | others | {"objective": entropy},
        "FedProto": ours | proto,
        "ours": ours,
        "ours paper": ours | {"weighting": "clients", "objective": paper},
        "ours others": ours | others | {"observer": jc.mixing.random_peer(include_self=n == 1)},
    }


def traffic(config: Config, options: dict[str, Any], n: int) -> Row:
    """Counts bytes up and down of the client that sends most; FedAvg includes batch statistics."""
    if "model_mixer" in options:
        init = make_model(config, config.model).init
        shapes = jax.eval_shape(init, jax.random.key(0), load(config)[0].x[:1])
        up = down = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        return {"bytes_up": up, "bytes_down": down}
    width = NUM_CLASSES if options.get("message") == "logits" else config.num_features
    weighting = options.get("weighting", "clients")
    up, down = jc.algorithms.bytes_exchanged(
        options["mixer"], options.get("observer"), n, NUM_CLASSES, width, weighting=weighting
    )
    return {"bytes_up": int(up.max()), "bytes_down": int(down.max())}


def train(
    config: Config,
    context: Context,
    clients: dict[str, np.ndarray],
    options: dict[str, Any],
    settings: dict[str, Any] | None = None,
    **tags: Any,
) -> tuple[np.ndarray, Replicas]:
    """Trains clients of one or several architectures.

    ``clients`` contains the number of clients of each model, ``options`` an entry of
    :func:`methods`, ``settings`` lists of K weights of its objective. Returns accuracies of every
    client on all test data, ``[K, S, n]``, and the runs.
    """
    known, test = load(config)
    several, n = len(clients) > 1, sum(map(len, clients.values()))
    parts = [_functions(make_model(config, name), len(own)) for name, own in clients.items()]
    groups = [group for *_, group in parts]

    def build(setting: Any) -> jc.Algorithm:
        own = {} if setting is None else {"objective": objectives.representation_sharing(**setting)}
        return jc.representation_sharing(
            groups if several else groups[0],
            optax.adam(config.learning_rate),
            num_classes=NUM_CLASSES,
            num_features=config.num_features,
            batch_size=config.batch_size,
            **options | own,
        )

    def start(algorithm: jc.Algorithm, key: jax.Array) -> jc.State:
        alike = "model_mixer" in options  # FedAvg starts from one model
        keys = jc.layout.client_keys(key, jnp.arange(n) * (not alike))
        stacked = [
            jax.vmap(init, (0, None))(keys[rows], known.x[:1])
            for (init, *_), rows in zip(parts, clients.values(), strict=True)
        ]
        params, model_state = zip(*stacked, strict=True) if several else stacked[0]
        return algorithm.init(params, model_state)

    def accuracy(x: Any, y: Any) -> Any:
        fns = [jc.metrics.accuracy(predict, x, y, batch_size=50) for _, predict, _ in parts]

        def measure(state: jc.State) -> jax.Array:
            params, model_state = state.clients.params, state.clients.model_state
            pairs = zip(params, model_state, strict=True) if several else [(params, model_state)]
            each = [state.clients._replace(params=p, model_state=e) for p, e in pairs]
            measured = [fn(state._replace(clients=own)) for fn, own in zip(fns, each, strict=True)]
            return jnp.concatenate([values["client_accuracy"] for values in measured])

        return measure

    seen = accuracy(test.x[: config.eval_examples], test.y[: config.eval_examples])
    done = train_replicas(
        context,
        build,
        start,
        jc.data.full_batch(partitions([deal(known.y, n, seed) for seed in config.seeds], known)),
        settings=settings,
        evaluate=lambda state: {"client_accuracy": seen(state)},
        tags=tags | {"clients": n},
    )
    final = accuracy(*test)
    count = 1 if settings is None else len(next(iter(settings.values())))
    return np.asarray([[final(state) for state in done.each(k)] for k in range(count)]), done


def _functions(model: Any, count: int) -> tuple[Any, ...]:
    """Returns ``init(key, x) -> (params, model_state)``, ``predict`` and the group."""
    statistics = isinstance(model, jc.models.FeatureResNet)
    divide = jc.models.parts_with_statistics if statistics else jc.models.two_parts
    features, head, *look = divide(model)
    see = lift_predict(features)

    def init(key: Any, x: Any) -> tuple[Any, Any]:
        variables = model.init(key, x)
        return (variables["params"], variables["batch_stats"]) if statistics else (variables, ())

    def predict(params: Any, model_state: Any, x: Any) -> Any:
        return head(params, see(params, model_state, x))

    group = jc.algorithms.Group(features, head, count, *look)
    return init, jc.stateful(predict), group


def summary(accuracy: np.ndarray) -> Row:
    """Summarizes accuracies ``[S, n]``."""
    clients, seeds = accuracy.std(1).mean(), accuracy.mean(1).std()
    return {"accuracy": accuracy.mean(), "std_of_seeds": seeds, "std_of_clients": clients}


def curves_of(done: Replicas, clients: Any = slice(None)) -> dict[str, np.ndarray]:
    """Returns the mean accuracy of clients against rounds."""
    curves = done.curves()
    mean = curves["client_accuracy"][..., clients].mean(-1)
    return {"round": curves["round"], "mean_test_accuracy": mean}
