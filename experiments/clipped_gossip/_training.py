"""Training on a graph with byzantine clients: one rule, all attacks and seeds in one program."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context, Row
from experiments.fields import BelowOne, Count, Positive, Settings
from experiments.tasks import load_normalized
from experiments.training import partitions, replicated, train_replicas
from jcollab import aggregators
from jcollab.models import Conv, max_pool

Network = Literal["cnn", "mlp", "vgg"]
NEED_A_MODEL = {"BF", "LF", "Noise", "none"}  # attacks for which byzantine clients train


class Config(Settings):
    """Fields of all trainings; the defaults are the settings of the paper's Figure 6."""

    dataset: str = "mnist"  # "digits" (embedded) or another TFDS image set
    network: Network = "cnn"  # the paper's for MNIST; for any data; the paper's for CIFAR-10
    learning_rate: Positive = 0.01  # of the local SGD
    momentum: BelowOne = 0.9  # heavy-ball
    rounds: Count = 900  # T
    batch_size: Count = 32  # examples per client and round
    num_seeds: Count = 1
    seed: int = 0  # the first one
    hidden: Count = 64  # width of the MLP
    evaluations: Count = 6  # points of the curves
    eval_examples: Count = 1000  # test examples for the curves; the last point uses all


SMALL = {"dataset": "digits", "network": "mlp", "hidden": 8, "batch_size": 4}
SMALL |= {"rounds": 4, "evaluations": 2, "num_seeds": 1, "eval_examples": 100}


class MnistNet(nn.Module):
    """Two 3 x 3 convolutions (32, 64), max-pooling, dropout, and dense layers of 128 and C."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits ``[b, C]``; with ``train``, ``apply`` needs ``rngs={"dropout": key}``."""
        x = nn.relu(Conv(32, (3, 3), padding="VALID")(x))
        x = nn.relu(max_pool(Conv(64, (3, 3), padding="VALID")(x)))
        x = nn.Dropout(0.25, broadcast_dims=(1, 2), deterministic=not train)(x)
        x = nn.relu(nn.Dense(128)(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


@functools.cache
def load(config: Config) -> tuple[jc.data.Dataset, jc.data.Dataset, nn.Module]:
    """Loads training data, test data and the network of a configuration."""
    train, test = load_normalized(config.dataset)
    classes = int(train.y.max()) + 1
    models = {
        "cnn": MnistNet(classes),
        "mlp": jc.models.MLP(classes, (config.hidden,)),
        "vgg": jc.models.VGG11(classes, width=config.hidden),
    }
    return train, test, models[config.network]


def build_rule(name: str, *, score: Any = None, learning_rate: float = 0.0) -> Any:
    """Builds a rule from its name in the figures and a number, such as ``"TM 2 + bucketing"``."""
    plain, _, extra = name.partition(" + ")
    adaptive = aggregators.second_largest_distance()
    rules: dict[str, Callable[..., Any]] = {
        "Gossip": aggregators.weighted,
        "SCClip": lambda radius=adaptive: aggregators.self_centered_clip(radius),
        "CP": lambda radius=1.0: aggregators.centered_clip(radius),
        "CM": aggregators.coordinate_median,
        "TM": lambda trim=1: aggregators.trimmed_mean(int(trim), shrink=True),
        "GM": aggregators.geometric_median,
        "Krum": lambda byzantine=0: aggregators.krum(int(byzantine)),
        "MOZI": lambda ratio=0.4: aggregators.ubar(score, ratio, learning_rate=learning_rate),
    }
    rule = _find("rule", rules, plain if extra in ("", "bucketing") else name)
    return aggregators.bucketing(2, rule) if extra else rule


def build_attack(name: str, rule: str) -> Any:
    """Builds an attack from its name in the figures and a number, such as ``"ALIE 10"``."""
    uniform = not rule.startswith(("Gossip", "SCClip"))  # the rule ignores the mixing weights

    def honest(own: Any, messages: Any, weights: Any, byzantine: Any, context: Any) -> Any:
        return messages

    attacks: dict[str, Callable[..., Any]] = {
        "Dissensus": lambda epsilon=1.5: jc.channels.attacks.dissensus(epsilon, uniform=uniform),
        "ALIE": lambda z=10.0: jc.channels.attacks.alie(z),
        "IPM": jc.channels.attacks.inner_product_manipulation,
        "BF": jc.channels.attacks.bit_flip,
        "Noise": lambda scale=1.0: jc.channels.attacks.gaussian(scale),
        "Mimic": jc.channels.attacks.mimic,
        "LF": lambda: honest,  # the labels are wrong, not the messages
        "none": lambda: honest,
    }
    return _find("attack", attacks, name)


def _find(what: str, known: dict[str, Callable[..., Any]], name: str) -> Any:
    kind, *numbers = name.split()
    if kind not in known or len(numbers) > 1:
        raise ValueError(f"{what} must be one of {', '.join(known)} with a number, got {name!r}")
    return known[kind](*map(float, numbers))


def train(
    context: Context,
    config: Config,
    graph: jc.topology.ByzantineTopology,
    deal: Callable[..., Any] | None,
    rule: str,
    attacks: Sequence[str],
    tags: Row,
) -> tuple[list[Row], dict[str, Any]]:
    """Trains one rule under all attacks; ``deal(labels, n, seed=...)`` partitions, iid if None."""
    examples, test, model = load(config)
    deal = deal or (lambda labels, n, seed: jc.data.iid(len(labels), n, seed=seed))
    n, seeds = graph.topology.n, config.seeds
    seen = np.random.default_rng(0).permutation(len(test.y))[: config.eval_examples]
    measure = jc.metrics.accuracy(model.apply, *(np.asarray(part)[seen] for part in test))
    whole = jc.metrics.accuracy(model.apply, *test)

    def average(measure: Any, clients: np.ndarray, state: jc.State) -> Any:
        return jc.metrics.among(clients, measure)(state)["averaged_model_accuracy"]

    def evaluate(state: jc.State) -> Row:
        measured = jc.metrics.among(graph.honest, measure, jc.metrics.consensus_distance)(state)
        measured["global_accuracy"] = measured.pop("averaged_model_accuracy")
        if graph.byzantine.any():
            del measured["client_accuracy"]  # the curves contain honest clients only
        for group in range(graph.group.max() + 1) if graph.group.max() > 0 else ():
            measured[f"clique{group + 1}_accuracy"] = average(measure, graph.group == group, state)
        return measured

    done = train_replicas(
        context,
        _builder(config, graph, rule, attacks),
        replicated(model, n, examples.x[:1]),
        jc.data.minibatches(
            partitions([deal(examples.y, n, seed=int(seed)) for seed in seeds], examples),
            # MOZI evaluates neighbors' models on the client's own examples
            config.batch_size * (2 if rule.startswith("MOZI") else 1),
        ),
        settings=np.arange(len(attacks)),
        evaluate=evaluate,
        tolerant=True,
        tags=tags | {"rule": rule, "attack": np.repeat(attacks, len(seeds)).tolist()},
    )
    final = functools.partial(average, whole, graph.honest)
    rows, curves = [], {attack: done.curves(k) for k, attack in enumerate(attacks)}
    for k, (attack, curve) in enumerate(curves.items()):
        last = done.last(k) | {"global_accuracy": done.measure(final, k)}
        row = {name: values.mean() for name, values in last.items() if values.ndim == 1}
        row["spread"] = np.ptp(last["global_accuracy"])
        row["best_accuracy"] = curve["global_accuracy"].mean(0).max()
        rows.append(tags | {"rule": rule, "attack": attack} | row)
    return rows, curves


def _builder(
    config: Config, graph: jc.topology.ByzantineTopology, rule: str, attacks: Sequence[str]
) -> Callable[[Any], jc.Algorithm]:
    """Returns ``build(index of the attack) -> Algorithm``."""
    (examples, _, model), size, liars = load(config), config.batch_size, graph.byzantine
    kinds = [name.split()[0] for name in attacks]
    flips, last_label = jnp.array([kind == "LF" for kind in kinds]), examples.y.max()
    steps = {int(at * config.rounds): 0.1 for at in getattr(config, "decays", ())}
    rate = optax.piecewise_constant_schedule(config.learning_rate, steps)
    learners = None if NEED_A_MODEL.intersection(kinds) else graph.honest

    def dropout(params: Any, x: Any, key: Any) -> Any:
        return model.apply(params, x, train=True, rngs={"dropout": key})

    in_training = dropout if config.network == "cnn" else None
    objective = jc.objectives.classification(model.apply, train=in_training)

    def loss(params: Any, batch: Any, key: Any) -> Any:
        return objective(params, jax.tree.map(lambda leaf: leaf[:size], batch), key)

    def score(params: Any, batch: Any, key: Any) -> Any:
        logits = model.apply(params, batch.x[size:])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y[size:]).mean()

    def build(attack: Any) -> jc.Algorithm:
        messages = jc.channels.attacks.choose(
            [build_attack(name, rule) for name in attacks], attack
        )
        channel = jc.channels.byzantine(messages, liars) if liars.any() else None
        aggregate = build_rule(rule, score=score, learning_rate=config.learning_rate)
        algorithm = jc.decentralized(
            loss,
            optax.sgd(rate, momentum=config.momentum),
            jc.neighborhood(graph.topology, aggregate, channel, receivers=learners),
            learners=learners,
            honest=graph.honest,
        )

        def update(state: jc.State, batch: Any, key: Any) -> tuple[jc.State, Any]:
            flipped = flips[attack] & jnp.asarray(liars)[:, None]
            y = jnp.where(flipped, last_label - batch.y, batch.y)
            return algorithm.update(state, batch._replace(y=y), key)

        return jc.Algorithm(algorithm.init, update)

    return build
