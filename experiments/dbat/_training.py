"""Data with shortcuts, networks, training of ensembles, and tables and figures."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context, Row, Rows
from experiments.fields import EMPTY, Count, Positive, Settings
from experiments.tasks import average_squares, select
from experiments.training import Replicas, train_replicas
from jcollab import plots
from jcollab.algorithms import ensembles
from jcollab.objectives.disagreement import EPSILON

Dataset = jc.data.Dataset
SPLIT_SEED = 42  # the pools are the same for all seeds
Pool = Literal["test", "different"]  # classes of the test, or other classes
TESTS = ("test_accuracy", "shortcut_broken", "feature_broken")
# data sets of both halves, their classes in the pairs of labels 0 and 1, other lower classes
HALVES = {
    "digits": ("digits", "digits", [(0, 3), (1, 8)], [2, 4, 5, 6, 7, 9]),
    "dominoes": ("mnist", "fashion_mnist", [(0, 4), (1, 3)], [0, 1, 2, 5, 6, 7, 8, 9]),
    "cifar_dominoes": ("mnist", "cifar10", [(0, 1), (1, 9)], [0, 2, 3, 4, 5, 6, 7, 8]),
}


class Config(Settings):
    """Data, network and sizes of experiments on images with a shortcut."""

    problem: Literal["digits", "dominoes", "cifar_dominoes", "colored_mnist"] = "dominoes"
    batch_size: Count = 256  # labeled, and unlabeled, examples of a round
    weight_decay: float = 1e-6  # of AdamW
    network: Literal["lenet", "mlp"] = "lenet"
    channels: tuple[int, int] = (6, 16)  # of the two convolutions of LeNet
    hidden: Annotated[tuple[int, ...], EMPTY] = (120, 84)  # widths of the dense layers
    variance: Positive = 1.0  # of LeNet's initial weights, times the number of inputs
    shrink: Count = 1  # factor by which averaging reduces the resolution
    anchor: Literal["frozen", "trained"] = "frozen"  # multi-class form: released code, paper
    logarithm: Literal["released", "stable"] = "released"  # the released one adds 1e-7
    examples: Count | None = None  # of each data set; None for all
    num_seeds: Count = 3
    seed: int = 0

    def make_network(self, outputs: int) -> Any:
        """Builds the network, with one output for two classes, else C."""
        if self.network == "mlp":
            return jc.models.MLP(outputs, self.hidden)
        return LeNet(outputs, self.channels, self.hidden, variance=self.variance)

    @property
    def disagreement(self) -> dict[str, Any]:
        """Returns the options of the agreement."""
        return {"anchor": self.anchor, "epsilon": EPSILON if self.logarithm == "released" else None}


DIGITS: Any = {"problem": "digits", "network": "mlp", "hidden": (64,), "batch_size": 64}
TINY = DIGITS | {"hidden": (4,), "channels": (2, 2), "shrink": 1, "batch_size": 4, "num_seeds": 1}


class LeNet(nn.Module):
    """Two 5 x 5 convolutions with pooling, the first one padded, then dense layers."""

    outputs: int  # 1 for two classes, else C
    channels: Sequence[int] = (6, 16)
    hidden: Sequence[int] = (120, 84)
    dropout: float = 0.0  # fraction of the dense layers' units that is dropped in training
    variance: float = 1.0  # of initial weights, times their inputs; 1/3 in the original code

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Computes logits ``[b, outputs]`` of images ``[b, height, width, channels]``."""
        init = nn.initializers.variance_scaling(self.variance, "fan_in", "truncated_normal")
        batch_last = jc.layout.loops()
        own = {"kernel_init": init, "batch_last": batch_last}
        x = x.transpose(3, 1, 2, 0) if batch_last else x
        for width, padding in zip(self.channels, (((2, 2), (2, 2)), "VALID"), strict=True):
            x = jc.models.Conv(width, (5, 5), padding=padding, **own)(x)
            x = nn.relu(jc.models.max_pool(x))
        x = x.transpose(3, 1, 2, 0) if batch_last else x
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width, kernel_init=init)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.outputs, kernel_init=init)(x)


class Problem(NamedTuple):
    """Data and model of an experiment with images."""

    train: Dataset  # labeled images
    pools: dict[str, np.ndarray]  # unlabeled images: as in the test, and different ones
    tests: dict[str, Dataset]  # as in training; shortcut broken; other feature broken, if any
    model: Any  # flax module

    def rows(self, done: Replicas, k: int, column: str, groups: Row, **tags: Any) -> Rows:
        """Computes accuracies (%), a row for each seed and group of members (-1: the mean)."""
        logits_of = ensembles.member_logits(self.model.apply)
        for seed, state in zip(done.seeds, done.each(k), strict=True):
            scores = {
                name: 100 * np.append(*ensembles.accuracies(logits_of(state, test.x), test.y))
                for name in TESTS
                if (test := self.tests.get(name))
            }
            for name, own in groups.items():
                means = {test: values[own].mean() for test, values in scores.items()}
                yield tags | {"seed": seed, column: name} | means


def smaller(problem: Problem, factor: int) -> Problem:
    """Reduces the resolution of all images by averaging over squares."""
    return jax.tree.map(
        lambda leaf: average_squares(leaf, factor) if np.ndim(leaf) == 4 else leaf, problem
    )


def dominoes(config: Config) -> Problem:
    """Builds images above images, with both unlabeled sets; the upper half is the shortcut."""
    rng = np.random.default_rng(SPLIT_SEED)
    top, bottom, pairs, others = HALVES[config.problem]
    tops, bottoms = _split(top, config, rng), _split(bottom, config, rng)
    if config.problem == "cifar_dominoes":
        frame = ((0, 0), (2, 2), (2, 2), (0, 0))
        tops = [Dataset(np.repeat(np.pad(x, frame), 3, -1), y) for x, y in tops]
    above, below = zip(*pairs, strict=True)
    train = jc.data.synthetic.dominoes(tops[1], bottoms[1], pairs, rng)
    test = jc.data.synthetic.dominoes(tops[2], bottoms[2], pairs, rng)
    pools = {
        "test": jc.data.synthetic.unlabeled_dominoes(tops[0], bottoms[0], (above, below), rng),
        "different": jc.data.synthetic.unlabeled_dominoes(
            tops[0], bottoms[0], (above, others), rng
        ),
    }
    tests = {
        "test_accuracy": test,
        "shortcut_broken": Dataset(jc.data.synthetic.permute_half(test.x, rng, "top"), test.y),
        "feature_broken": Dataset(jc.data.synthetic.permute_half(test.x, rng, "bottom"), test.y),
    }
    return smaller(Problem(train, pools, tests, config.make_network(1)), config.shrink)


def _split(name: str, config: Config, rng: np.random.Generator) -> list[Dataset]:
    """Splits images into pools (a sixth; of digits a quarter), training and test."""
    known = jc.data.load(name, "train")
    order = rng.permutation(len(known.y))[: config.examples]
    share = len(order) // (4 if name == "digits" else 6)
    return [select(known, order[:share]), select(known, order[share:]), jc.data.load(name, "test")]


def figure(lines: list[Row], agreements: dict[str, np.ndarray]) -> Any:
    """Draws accuracies, a group of bars for each line, and agreements ``[S, T]`` by name."""
    fig, (left, right) = plots.subplots(1, 2, width_ratios=(1.3, 1), figsize=(12, 4.4))
    tests = [name for name in TESTS if name in lines[0]]
    width = 0.8 / len(tests)
    for j, name in enumerate(tests):
        at = np.arange(len(lines)) + (j - (len(tests) - 1) / 2) * width
        color, label = plots.COLORS[j], name.replace("_", " ")
        left.bar(at, [line[name] for line in lines], width, color=color, label=label)
    labels = ["\n".join(v for v in line.values() if isinstance(v, str)) for line in lines]
    left.set_xticks(range(len(lines)), labels, fontsize=8)
    left.set(title="accuracy (%)", ylim=(0, 119))
    left.legend(ncols=3, loc="upper center", fontsize=9)
    for color, (label, values) in zip(plots.COLORS, agreements.items(), strict=False):
        plots.band(right, np.arange(values.shape[1]), values, color=color, label=label)
    right.set(title="agreement", xlabel="rounds", yscale="log")
    right.legend(fontsize=9)
    return fig


def cross_entropy(predict: Callable) -> Callable:
    """Builds the loss of one member, of one logit or of C logits; it reports accuracy."""

    def loss(params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, y = predict(params, batch["x"]), batch["y"]
        right = jnp.argmax(ensembles.probabilities(logits), -1) == y
        if logits.shape[-1] == 1:
            value = optax.sigmoid_binary_cross_entropy(logits[:, 0], y)
        else:
            value = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return value.mean(), {"accuracy": right.mean()}

    return loss


def train(
    context: Context,
    config: Any,
    model: Any,
    labeled: jc.data.Dataset,
    pools: dict[str, np.ndarray],
    conditions: Sequence[tuple[float, str]],
    *,
    optimizers: Sequence[optax.GradientTransformation],
    members: int = 2,
    loss: Callable | None = None,
    **options: Any,
) -> tuple[Replicas, Replicas | None]:
    """Trains the first member for each seed, then the others for each condition and seed.

    A condition is a weight of the agreement and the name of an unlabeled set; first members do not
    depend on it. The second result has the conditions as settings; it is None without conditions
    or after Ctrl-C. Rounds and optimizers are pairs: first member, later members. A loss of None
    is cross-entropy; options are passed to :func:`jcollab.dbat`.
    """
    rounds = np.broadcast_to(config.rounds, 2).tolist()
    seeds = config.seeds
    loss = loss or cross_entropy(model.apply)
    names, sizes = list(pools), np.array([len(pool) for pool in pools.values()])
    starts = np.cumsum(sizes) - sizes
    arrays = {"x": labeled.x, "y": labeled.y, "pool": np.concatenate(list(pools.values()))}

    def sample(data: Any, key: jax.Array, step: jax.Array) -> dict[str, jax.Array]:
        own, other = jax.random.split(key)
        rows = jax.random.randint(own, (config.batch_size,), 0, len(data["y"]))
        points = data["start"] + jax.random.randint(other, (config.batch_size,), 0, data["size"])
        batch = {"x": data["x"][rows], "y": data["y"][rows], "unlabeled": data["pool"][points]}
        return jc.replicate(batch, members)

    def build(stage: int, setting: Any) -> jc.Algorithm:
        own = {"alpha": setting["alpha"], "member_rounds": rounds[stage]}
        return jc.dbat(loss, model.apply, optimizers[stage], **own, **options)

    def draw(algorithm: jc.Algorithm, key: jax.Array) -> jc.State:
        each = jax.vmap(lambda key: model.init(key, labeled.x[:1]))
        return algorithm.init(each(jax.random.split(key, members)))

    def train_stage(stage: int, start: Any, conditions: Sequence[tuple[float, str]]) -> Replicas:
        which = np.repeat([names.index(pool) for _, pool in conditions], len(seeds))
        data = arrays | {"start": starts[which], "size": sizes[which]}
        return train_replicas(
            context,
            lambda setting: build(stage, setting),
            start,
            jc.data.from_function(sample, jax.tree.map(jnp.asarray, data)),
            rounds=(1, members)[stage] * rounds[stage],
            settings={"alpha": [alpha for alpha, _ in conditions]},
            data_axes={"x": None, "y": None, "pool": None, "start": 0, "size": 0},
            fold=stage,
            tags={"stage": ("first members", "later members")[stage]},
        )

    first = train_stage(0, draw, [(0.0, names[0])])
    if not conditions or not first.finished:
        return first, None
    init = build(1, {"alpha": 0.0}).init
    state = jax.vmap(lambda params: init(params))(jc.params_of(first.state()))
    state = state._replace(step=jnp.full_like(state.step, rounds[1]))
    state = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(conditions)), state)
    later = train_stage(1, state, conditions)
    return first, later if later.finished else None
