"""Training on a contested graph: one rule, any number of attacks and seeds in one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.clipped_gossip.kinds import Training
from experiments.clipped_gossip.model import MnistNet, in_training
from experiments.contract import Context, Row
from experiments.tasks import stack_clients
from jcollab import aggregators

CONSTANTS = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": (jc.data.CIFAR10_MEAN, jc.data.CIFAR10_STD),
}
Dataset = jc.data.Dataset
Contested = jc.topology.Contested


@dataclasses.dataclass(frozen=True)
class Task:
    """Data and model.

    Attributes:
        train: what is dealt to the clients.
        test: for the results.
        model: flax module.
        seen: how many test examples the curves are drawn from.
    """

    train: Dataset
    test: Dataset
    model: Any
    seen: int


def make_task(config: Training) -> Task:
    """Loads the data set and the network of a configuration."""
    dataset, hidden = config.dataset, config.hidden
    parts = [jc.data.load(dataset, split) for split in ("train", "test")]
    if dataset in CONSTANTS:
        normal = [np.asarray(jc.data.normalize(p.x, *CONSTANTS[dataset])) for p in parts]
        parts = [Dataset(x, p.y) for x, p in zip(normal, parts, strict=True)]
    classes = int(parts[0].y.max()) + 1
    models = {
        "cnn": lambda: MnistNet(classes),
        "mlp": lambda: jc.models.MLP(classes, (hidden,)),
        "vgg": lambda: jc.models.VGG11(classes, width=hidden),
    }
    return Task(parts[0], parts[1], models[config.network](), config.eval_examples)


def build_rule(name: str, *, score: Any = None, learning_rate: float = 0.0) -> Any:
    """A rule by its name in the paper's figures and a number: ``"SCClip 0.1"``, ``"TM 2"``.

    Known are Gossip, SCClip RADIUS (or none: the adaptive one), CP RADIUS, CM, TM TRIM, GM,
    Krum BYZANTINE, MOZI RATIO, each also with ``" + bucketing"`` behind it.

    Raises:
        ValueError: for another name.
    """
    plain, _, extra = name.partition(" + ")
    kind, *numbers = plain.split()
    value = float(numbers[0]) if numbers else None
    adaptive = aggregators.second_largest_distance()
    rules: dict[str, Callable[[], Any]] = {
        "Gossip": aggregators.weighted,
        "SCClip": lambda: aggregators.self_centered_clip(adaptive if value is None else value),
        "CP": lambda: aggregators.centered_clip(1.0 if value is None else value),
        "CM": aggregators.coordinate_median,
        "TM": lambda: aggregators.trimmed_mean(int(value or 1), shrink=True),
        "GM": aggregators.geometric_median,
        "Krum": lambda: aggregators.krum(int(value or 0)),
        "MOZI": lambda: aggregators.ubar(score, value or 0.4, learning_rate=learning_rate),
    }
    if kind not in rules or extra not in ("", "bucketing"):
        raise ValueError(f"rule must be one of {', '.join(rules)} with a number, got {name!r}")
    rule = rules[kind]()
    return aggregators.bucketing(2, rule) if extra else rule


def takes_weights(rule: str) -> bool:
    """Whether a rule uses the mixing weights; dissensus is adapted to those that do not."""
    return rule.startswith(("Gossip", "SCClip"))


def build_attack(name: str, rule: str) -> Any:
    """An attack by its name in the paper's figures: ``"ALIE 10"``, ``"IPM"``, ``"Dissensus 1.5"``.

    Raises:
        ValueError: for another name.
    """
    kind, *numbers = name.split()
    value = float(numbers[0]) if numbers else None
    attacks: dict[str, Callable[[], Any]] = {
        "Dissensus": lambda: jc.attacks.dissensus(value or 1.5, uniform=not takes_weights(rule)),
        "ALIE": lambda: jc.attacks.alie(value or 10.0),
        "IPM": lambda: jc.attacks.inner_product_manipulation(value or 0.1),
        "BF": jc.attacks.bit_flip,
        "Noise": lambda: jc.attacks.gaussian(value or 1.0),
        "Mimic": jc.attacks.mimic,
        "LF": lambda: honest_message,  # the data are wrong, not the messages
        "none": lambda: honest_message,
    }
    if kind not in attacks:
        raise ValueError(f"attack must be one of {', '.join(attacks)}, got {name!r}")
    return attacks[kind]()


def honest_message(own: Any, received: Any, weights: Any, byzantine: Any) -> Any:
    """What the byzantine would honestly send."""
    return received


NEEDS_A_MODEL = ("BF", "LF", "Noise", "none")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is run.

    Attributes:
        config: learning rate, rounds and so on.
        graph: who talks to whom, and who is byzantine.
        rule: name of the rule.
        attacks: names of the attacks, all in one program.
        decays: fractions of the rounds after which the learning rate is divided by 10.
    """

    config: Training
    graph: Contested
    rule: str
    attacks: tuple[str, ...]
    decays: tuple[float, ...] = ()

    @property
    def seeds(self) -> np.ndarray:
        """Int ``[S]``."""
        return self.config.seed + np.arange(self.config.num_seeds)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a setting gave.

    Attributes:
        rows: one for each attack, means over seeds.
        curves: for each attack, evaluations ``[E, S]``.
        interrupted: whether Ctrl-C ended the run.
    """

    rows: list[Row]
    curves: dict[str, dict[str, np.ndarray]]
    interrupted: bool


def train(
    task: Task,
    setting: Setting,
    deal: Callable[[int], list[np.ndarray]],
    context: Context,
    tags: Row,
) -> Outcome:
    """Trains with every attack and seed.

    Args:
        task: data and model.
        setting: what is run.
        deal: ``deal(seed) -> parts``, the examples of every client of the graph.
        context: of the experiment.
        tags: fields of the rows and of every line of the log.
    """
    graph, n = setting.graph, setting.graph.topology.n
    attacks, seeds, config = setting.attacks, setting.seeds, setting.config
    scores_models = setting.rule.startswith("MOZI")
    objective = jc.objectives.classification(task.model.apply, train=in_training(task.model))
    batch_size = config.batch_size

    def loss(params: Any, batch: Any, key: Any) -> Any:
        return objective(params, _first(batch, batch_size), key)

    def score(params: Any, batch: Any, key: Any) -> Any:  # on examples of its own
        fresh = jax.tree.map(lambda leaf: leaf[batch_size:], batch)
        logits = task.model.apply(params, fresh.x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, fresh.y).mean()

    def algorithm(attack: Any) -> jc.Algorithm:
        rule = build_rule(setting.rule, score=score, learning_rate=config.learning_rate)
        parts = [build_attack(name, setting.rule) for name in attacks]
        channel = None
        if graph.byzantine.any():
            channel = jc.channels.byzantine(jc.attacks.choose(parts, attack), graph.byzantine)
        idle = not any(name.split()[0] in NEEDS_A_MODEL for name in attacks)
        mixer = jc.neighborhood(
            graph.topology, rule, channel, receivers=graph.honest if idle else None
        )
        steps = {int(at * config.rounds): 0.1 for at in setting.decays}
        rate = optax.piecewise_constant_schedule(config.learning_rate, steps)
        optimizer = optax.sgd(rate, momentum=config.momentum)
        return jc.decentralized(
            loss,
            optimizer,
            mixer,
            learners=graph.honest if idle else None,
            honest=graph.honest,
        )

    def start(attack: Any, seed: Any) -> jc.State:
        key = jax.random.key(seed)
        params = task.model.init(key, task.train.x[:1])
        state = algorithm(attack).init(key, jc.replicate(params, n))
        return state._replace(shared=jnp.asarray(attack, jnp.int32))

    which = np.repeat(np.arange(len(attacks)), len(seeds))
    every_seed = np.tile(seeds, len(attacks))
    data = stack_clients([deal(int(s)) for s in seeds], task.train, len(attacks))
    wrong = jnp.array([name.split()[0] == "LF" for name in attacks])
    sample = jc.data.minibatches(batch_size * (2 if scores_models else 1))
    judge = _judge(task, graph)
    fitted = jc.fit(
        _attacked(algorithm, wrong, graph, task),
        jax.vmap(start)(which, every_seed),
        data,
        jax.vmap(jax.random.key)(every_seed),
        num_rounds=config.rounds,
        sample=sample,
        evaluate=judge,
        eval_every=max(1, config.rounds // config.evaluations),
        **context.fit_options(
            tolerant=True,
            **tags,
            rule=setting.rule,
            attack=[attacks[i] for i in which],
            seed=every_seed,
        ),
        description=", ".join(map(str, (setting.rule, *tags.values()))),
        replicas=True,
        data_axes=jc.data.ClientData(None, 0, 0),
    )
    whole = jc.layout.per_replica(_average_accuracy(task, graph))
    final = {name: values[-1] for name, values in fitted.evaluations.items() if name != "round"}
    final["global_accuracy"] = jax.device_get(jax.jit(whole)(fitted.state))
    rows, curves = [], {}
    for i, attack in enumerate(attacks):
        own = slice(i * len(seeds), (i + 1) * len(seeds))
        row = tags | {"rule": setting.rule, "attack": attack}
        for name, values in final.items():
            row[name] = float(values[own].mean())
        row["spread"] = float(np.ptp(final["global_accuracy"][own]))
        curves[attack] = {
            k: v if k == "round" else v[:, own] for k, v in fitted.evaluations.items()
        }
        row["best_accuracy"] = float(curves[attack]["global_accuracy"].mean(1).max())
        rows.append(row)
    return Outcome(rows, curves, fitted.stopped == "interrupted")


def _attacked(algorithm: Any, wrong: Any, graph: Contested, task: Task) -> jc.Algorithm:
    """The algorithm under the attack whose number is in its state, so that replicas may differ."""
    classes = int(task.train.y.max()) + 1

    def update(state: jc.State, batch: Any, key: Any) -> tuple[jc.State, Any]:
        flipped = jnp.where(
            wrong[state.shared] & jnp.asarray(graph.byzantine)[:, None],
            classes - 1 - batch.y,
            batch.y,
        )
        return algorithm(state.shared).update(state, batch._replace(y=flipped), key)

    return jc.Algorithm(algorithm(0).init, update)


def _first(batch: Any, size: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:size], batch)


def _judge(task: Task, graph: Contested) -> Callable[[jc.State], dict[str, Any]]:
    """Accuracy of the honest clients, of their averaged model and of that of each clique."""
    x, y = task.test.x, task.test.y
    if task.seen < len(y):
        chosen = np.random.default_rng(0).permutation(len(y))[: task.seen]
        x, y = np.asarray(x)[chosen], y[chosen]
    judge = jc.metrics.accuracy(task.model.apply, x, y)
    groups = [g for g in np.unique(graph.group) if g >= 0]

    def evaluate(state: jc.State) -> dict[str, Any]:
        said = jc.metrics.among(graph.honest, judge, jc.metrics.consensus_distance)(state)
        named = {
            "global_accuracy": said["averaged_model_accuracy"],
            "mean_accuracy": said["mean_accuracy"],
            "worst_accuracy": said["worst_accuracy"],
            "consensus_distance": said["consensus_distance"],
        }
        if len(groups) > 1:
            for g in groups:
                average = _average(state, graph.group == g)
                named[f"clique{g + 1}_accuracy"] = judge(average)["client_accuracy"][0]
        return named

    return evaluate


def _average_accuracy(task: Task, graph: Contested) -> Callable[[jc.State], Any]:
    judge = jc.metrics.accuracy(task.model.apply, task.test.x, task.test.y)
    return lambda state: judge(_average(state, graph.honest))["client_accuracy"][0]


def _average(state: jc.State, mask: np.ndarray) -> jc.State:
    """A state whose only client holds the mean of the models of some."""
    rows = np.flatnonzero(mask)
    part = jax.tree.map(lambda leaf: leaf[rows], state.clients.params)
    mean = jax.tree.map(lambda leaf: leaf[None], jc.metrics.averaged_model(part))
    return jc.State(jc.Clients(mean, (), (), ()), (), state.step)
