"""The methods of the experiment with models, all on the same clients."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.optimal_averaging.kinds import Models
from jcollab import averaging

Dataset = jc.data.Dataset


@dataclasses.dataclass(frozen=True)
class Groups:
    """Who holds what.

    Attributes:
        train: examples, labels as their holder sees them.
        parts: examples of each client.
        minority: bool ``[n]``.
        labels: labels of the test examples as each group sees them, int ``[2, N]``.
    """

    train: Dataset
    parts: list[np.ndarray]
    minority: np.ndarray
    labels: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Numbers of examples ``[n]``."""
        return np.array([len(part) for part in self.parts])


def make_groups(config: Models, train: Dataset, test: Dataset, shifted: int, seed: int) -> Groups:
    """Deals examples in unequal parts and permutes the second group's labels."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(train.y))[: config.examples]
    x, y = np.asarray(train.x)[chosen], np.array(train.y)[chosen]
    fractions = rng.permutation(np.geomspace(1, config.imbalance, config.n))
    parts = jc.data.by_size(len(y), fractions, seed=seed)
    if (smallest := min(map(len, parts))) < 2:
        raise ValueError(
            f"examples={config.examples} leave a client with {smallest}, of which no variance is "
            "known; more examples or a smaller imbalance help"
        )
    minority = np.zeros(config.n, bool)
    minority[rng.permutation(config.n)[: config.minority]] = True
    names = np.arange(10)
    classes = rng.permutation(10)[:shifted]
    names[classes] = np.roll(classes, 1)
    for part in (part for part, other in zip(parts, minority, strict=True) if other):
        y[part] = names[y[part]]
    return Groups(Dataset(x, y), parts, minority, np.stack([test.y, names[test.y]]))


class Trial:
    """Runs all methods on some groups; programs are compiled once for all of them."""

    def __init__(self, config: Models):
        self.config = config
        self.train = jc.data.load(config.dataset)
        self.test = jc.data.load(config.dataset, "test")
        hidden = (config.hidden,) if config.hidden else ()
        self.model = jc.models.MLP(10, hidden)
        self.loss = jc.objectives.classification(self.model.apply)
        self.sgd = optax.chain(
            optax.add_decayed_weights(config.weight_decay), optax.sgd(config.learning_rate)
        )
        self.sample = jc.data.minibatches(config.batch_size)
        self.x = jnp.asarray(self.test.x)
        self.judge = jax.jit(self._judge)
        self.levels = jax.jit(self._levels)
        mean, rule = jc.every(config.period, jc.all_reduce()), averaging.positive_part
        fedavg = jc.decentralized(self.loss, self.sgd, mean)
        alone = jc.decentralized(self.loss, self.sgd, jc.identity())
        self.algorithms: dict[str, jc.Algorithm] = {
            "alone": alone,
            "FedAvg": fedavg,
            "tuning": jc.fine_tuning(self.loss, self.sgd),
            "Ditto": jc.ditto(fedavg, self.loss, self.sgd, attraction=config.attraction),
            "APFL": jc.apfl(self.loss, self.sgd, mean),
            "APFL adaptive": jc.apfl(self.loss, self.sgd, mean, weight_rate=config.weight_rate),
            "plug-in updates": jc.decentralized(
                self.loss, self.sgd, jc.personal_average(rule), strength=0.0
            ),
        }

    def __call__(self, groups: Groups, seed: int) -> dict[str, Any]:
        """Accuracy and mean weight of every method, ``[n]`` each, and those of all levels."""
        config, key = self.config, jax.random.key(seed)
        n, sizes = config.n, groups.sizes
        start = self.model.init(key, self.x[:1])
        labels = jnp.asarray(groups.labels[groups.minority.astype(int)])
        data = jc.data.client_data(groups.train, groups.parts)

        # the spread of models of two halves of a client's data tells that of the model of all
        halves = [half for part in groups.parts for half in np.array_split(part, 2)]
        both = self.train_on(
            "alone", jc.data.client_data(groups.train, halves), jc.replicate(start, 2 * n), key
        )
        first, second = (
            jax.tree.map(lambda leaf, i=i: leaf[i::2], jc.params_of(both)) for i in (0, 1)
        )
        variance = np.asarray(jax.vmap(averaging.squared_distance)(first, second)) / 4

        state = self.train_on("alone", data, jc.replicate(start, n), key)
        local = jc.params_of(state)
        levels, losses = jax.device_get(self.levels(local, labels, jnp.asarray(sizes, float)))
        best = np.linspace(0, 1, config.num_weights)[losses.argmin(0)]
        shared = averaging.pooled(averaging.positive_part)
        same = groups.minority[:, None] == groups.minority
        matrix = same * sizes / (same * sizes).sum(1, keepdims=True)
        mixers: dict[str, jc.Mixer] = {
            "local": jc.identity(),
            "global": jc.personal_average(
                averaging.pooled_weight(sizes, sizes.sum() - sizes), counts=sizes
            ),
            "oracle": jc.personal_average(best, counts=sizes),
            "oracle groups": jc.collaboration(matrix),
            "plug-in": jc.personal_average(
                averaging.positive_part, counts=sizes, variance=variance
            ),
            "plug-in shared": jc.personal_average(shared, counts=sizes, variance=variance),
            "pre-test": jc.personal_average(averaging.pre_test, counts=sizes, variance=variance),
        }
        accuracy, weight = {}, {}
        for name, mixer in mixers.items():
            mixed, held = mixer.update(local, mixer.init(local), key=key, step=jnp.int32(0))
            accuracy[name] = self.judge(mixed, labels)[0]
            if hasattr(held, "weight"):
                weight[name] = np.asarray(held.weight)
        for name in config.trained:
            state = self.train_on(name.removesuffix(" + tuning"), data, jc.replicate(start, n), key)
            if name.endswith(" + tuning"):
                state = self.train_on("tuning", data, state, key, config.tuning)
            accuracy[name] = self.judge(jc.params_of(state), labels)[0]
            if name.startswith("APFL"):
                weight[name] = np.asarray(state.clients.weight)
            if name == "plug-in updates":
                weight[name] = np.asarray(state.clients.mixer.weight)
        return {"accuracy": jax.device_get(accuracy), "weight": weight, "levels": levels}

    def train_on(
        self, name: str, data: Any, start: Any, key: Any, rounds: int | None = None
    ) -> jc.State:
        """The last state of an algorithm."""
        algorithm = self.algorithms[name]
        state = algorithm.init(key, start)
        rounds = rounds or self.config.rounds
        return jc.run(algorithm, state, data, key, num_rounds=rounds, sample=self.sample)[0]

    def _judge(self, models: Any, labels: Any) -> tuple[Any, Any]:
        """Accuracy and loss of each client's model on its group's test labels, ``[n]``."""

        def one(model: Any, y: Any) -> tuple[Any, Any]:
            logits = self.model.apply(model, self.x)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
            return jnp.mean(jnp.argmax(logits, -1) == y), loss

        return jc.layout.per_client(one)(models, labels)

    def _levels(self, local: Any, labels: Any, sizes: Any) -> tuple[Any, Any]:
        """The same for every weight of a grid, the same for all clients, ``[A, n]``."""

        def level(weight: Any) -> tuple[Any, Any]:
            mixer = jc.personal_average(weight, counts=sizes)
            mixed, _ = mixer.update(local, mixer.init(local), key=jax.random.key(0), step=0)
            return self._judge(mixed, labels)

        grid = jnp.linspace(0.0, 1.0, self.config.num_weights)
        return jax.lax.map(level, grid)
