"""Worst-client accuracy of VGG-11 on CIFAR-10 with the paper's schedule and learning rates.

RelaySGD, arXiv 2110.04175, Table 2.

    python -m experiments relaysgd cifar10

Table 2: VGG-11 on CIFAR-10, 16 clients, 200 epochs, all methods, 3 seeds.
Cost: GPU-days; needs CIFAR-10 in JCOLLAB_DATA.
Expected: worst client at alpha .01 with momentum: RelaySGD 89.1, QGM 63.3, D2 61.0 %.

    python -m experiments relaysgd cifar10_reduced

Table 2's set-up cut down to 8 clients, 4000 images, a narrow VGG-11 and 2 epochs.
Cost: 3 minutes on 2 cores; needs CIFAR-10 in JCOLLAB_DATA.
Expected: that it runs: no accuracy of the paper is to be expected at this size.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row, check
from experiments.relaysgd._methods import METHODS, PAPER_METHODS, Method
from jcollab import plots
from jcollab.data import Dataset, augment

# worst-client accuracy and base learning rate in the paper's Table 2 (mean of 3 seeds), by method,
# momentum and alpha
PAPER = {
    ("all-reduce complete", 0.0): {1.0: (0.870, 0.1), 0.1: (0.870, 0.1), 0.01: (0.870, 0.1)},
    ("all-reduce complete", 0.9): {1.0: (0.902, 0.1), 0.1: (0.902, 0.1), 0.01: (0.902, 0.1)},
    ("RelaySGD double trees", 0.0): {1.0: (0.874, 1.2), 0.1: (0.869, 0.6), 0.01: (0.846, 0.3)},
    ("RelaySGD double trees", 0.9): {1.0: (0.902, 0.6), 0.1: (0.895, 0.3), 0.01: (0.891, 0.15)},
    ("RelaySGD chain", 0.0): {1.0: (0.873, 2.0), 0.1: (0.872, 2.0), 0.01: (0.865, 1.0)},
    ("RelaySGD chain", 0.9): {1.0: (0.895, 0.5), 0.1: (0.892, 0.5), 0.01: (0.884, 0.125)},
    ("D-PSGD ring", 0.0): {1.0: (0.874, 0.4), 0.1: (0.799, 0.1), 0.01: (0.539, 0.2)},
    ("D-PSGD + QGM ring", 0.9): {1.0: (0.895, 0.1), 0.1: (0.848, 0.025), 0.01: (0.633, 0.05)},
    ("D2 ring", 0.0): {1.0: (0.872, 0.2), 0.1: (0.840, 0.2), 0.01: (0.382, 0.1)},
    ("D2 ring", 0.9): {1.0: (0.882, 0.05), 0.1: (0.885, 0.05), 0.01: (0.610, 0.0126)},
    ("SGP exponential", 0.0): {1.0: (0.874, 0.4), 0.1: (0.867, 0.2), 0.01: (0.867, 0.2)},
    ("SGP exponential", 0.9): {1.0: (0.895, 0.1), 0.1: (0.892, 0.1), 0.01: (0.875, 0.025)},
}
WEIGHT_DECAY = 1e-4
PARTITION_SEED = 100  # the paper's partition has the seed of the run plus this


@dataclasses.dataclass(frozen=True)
class Config:
    """Which methods are compared, at which size."""

    dataset: str = "cifar10"  # a TFDS image set (other sizes than 32 x 32 x 3 are enlarged)
    methods: tuple[str, ...] = PAPER_METHODS
    momenta: tuple[float, ...] = (0.0, 0.9)  # Nesterov momenta; pairs not in PAPER are left out
    alphas: tuple[float, ...] = (1.0, 0.1, 0.01)  # Dirichlet concentrations of the labels
    n: int = 16  # clients
    epochs: int = 200  # passes over a client's data; warm-up and decays scale along
    batch_size: int = 32  # examples per client and round
    learning_rate: float | None = None  # base rate of all methods; None for those of the paper
    width: int = 64  # channels of VGG-11's first layer; 64 is the original
    num_seeds: int = 3
    seed: int = 1  # the first one
    examples: int | None = None  # number of training and test examples to use; None for all
    evaluations: int = 40  # points of the curves
    eval_examples: int = 10_000  # test examples to evaluate on

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check(self, "n epochs batch_size width num_seeds evaluations eval_examples", at_least=1)
        check(self, "examples", at_least=1)
        check(self, "alphas learning_rate", above=0)
        check(self, "momenta", at_least=0, below=1)
        check(self, "methods", among=METHODS)

    @property
    def is_paper(self) -> bool:
        """Whether this is the paper's set-up, so that its numbers can be expected."""
        size = (self.dataset, self.n, self.epochs, self.width, self.examples, self.learning_rate)
        return size == ("cifar10", 16, 200, 64, None, None)

    def load(self, part: str) -> Dataset:
        """Images of 32 x 32 pixels in three channels."""
        x, y = (values[: self.examples] for values in jc.data.load(self.dataset, part))
        if x.shape[-1] != 3:  # smoke mode runs on digits
            factor = -(-32 // x.shape[1])
            x = np.repeat(np.repeat(np.repeat(x, factor, 1), factor, 2), 3, 3)
        return Dataset(x, y)


PRESETS = {
    "cifar10": Config(),
    "cifar10_reduced": Config(
        methods=("all-reduce complete", "RelaySGD chain", "D-PSGD ring"),
        momenta=(0.0,),
        alphas=(0.01,),
        n=8,
        epochs=2,
        learning_rate=0.1,
        width=8,
        num_seeds=1,
        examples=4000,
        evaluations=2,
        eval_examples=500,
    ),
}
SMALL = {
    "dataset": "digits",
    "epochs": 1,
    "batch_size": 4,
    "width": 4,
    "examples": 16,
    "evaluations": 1,
    "eval_examples": 8,
}
SMOKE = {
    "cifar10": SMALL
    | {"methods": ("RelaySGD chain",), "momenta": (0.9,), "alphas": (1.0,), "n": 2, "num_seeds": 1},
    "cifar10_reduced": SMALL | {"methods": ("D2 ring",), "n": 4},
}


def run(config: Config, context: Context) -> list[Row]:
    """Trains the methods one after the other."""
    train, test = config.load("train"), config.load("test")
    rows: list[Row] = []
    for name, momentum, alpha in context.cases(config.methods, config.momenta, config.alphas):
        method, known = METHODS[name], PAPER.get((name, momentum), {}).get(alpha)
        if known is None and config.learning_rate is None:
            continue
        if method.graph:
            context.graph(method.topology, method.graph(config.n))
        for seed in context.cases(range(config.seed, config.seed + config.num_seeds)):
            tags = {
                "algorithm": method.name,
                "topology": method.topology,
                "momentum": momentum,
                "alpha": alpha,
                "seed": seed,
            }
            rate = config.learning_rate or known[1]
            curves = _train(config, context, train, test, method, rate, tags)
            context.kept[f"{name}, momentum {momentum:g}, alpha {alpha:g}"] = curves
            row = {
                "learning_rate": rate,
                "mean_accuracy": curves["mean_accuracy"][-1],
                "worst_accuracy": curves["worst_accuracy"][-1],
                "paper_worst": known[0] if known and config.is_paper else None,
            }
            rows.append(tags | row)
    return rows


def _train(
    config: Config,
    context: Context,
    train: Dataset,
    test: Dataset,
    method: Method,
    rate: float,
    tags: Row,
) -> dict[str, np.ndarray]:
    """Evaluations of one run."""
    model = jc.models.VGG11(num_classes=10, width=config.width)

    def predict(params: Any, x: Any, **options: Any) -> Any:
        x = augment.normalize(x, augment.CIFAR10_MEAN, augment.CIFAR10_STD)
        return model.apply(params, x, **options)

    def dropping(params: Any, x: Any, key: Any) -> Any:
        return predict(params, x, train=True, rngs={"dropout": key})

    loss = jc.objectives.classification(predict, augment=augment.crop_and_flip, train=dropping)

    def decayed(params: Any, batch: Any, key: Any) -> Any:
        value, metrics = loss(params, batch, key)
        return value + WEIGHT_DECAY / 2 * optax.tree.norm(params, squared=True), metrics

    steps_per_epoch = max(1, len(train.y) // config.n // config.batch_size)
    rounds = config.epochs * steps_per_epoch
    schedule = jc.schedules.warmup_step_decay(
        rate,
        steps_per_epoch,
        warmup_epochs=config.epochs / 40,
        milestones=(0.75 * config.epochs, 0.9 * config.epochs),
    )
    algorithm = method.build(decayed, schedule, tags["momentum"], method.mixer(config.n))
    key, seed = jax.random.key(tags["seed"]), tags["seed"] + PARTITION_SEED
    parts = jc.data.dirichlet(train.y, config.n, tags["alpha"], seed=seed)
    params = model.init(key, train.x[:1])
    return context.fit(
        algorithm,
        algorithm.init(key, jc.replicate(params, config.n)),
        jc.data.client_data(train, parts),
        key,
        num_rounds=rounds,
        sample=jc.data.minibatches(config.batch_size),
        evaluate=jc.metrics.accuracy(
            predict, test.x[: config.eval_examples], test.y[: config.eval_examples]
        ),
        eval_every=max(1, rounds // config.evaluations),
        tags=tags,
        tolerant=True,
        description=", ".join(f"{name} {value}" for name, value in tags.items()),
    ).evaluations


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """The paper's numbers; a reduced set-up is too small for any of them, and makes no claim."""
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        if row["paper_worst"] is not None:
            case = (row["algorithm"], row["topology"], row["momentum"], row["alpha"])
            groups.setdefault((*case, row["paper_worst"]), []).append(row["worst_accuracy"])
    return [
        Claim(
            f"{name} on {topology}, momentum {momentum:g}, alpha {alpha:g}: worst client",
            f"paper {paper:.3f}, within 0.02 or above",
            np.mean(values),
            np.mean(values) >= paper - 0.02,
        )
        for (name, topology, momentum, alpha, paper), values in groups.items()
    ]


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Worst-client accuracy against rounds, of the last seed."""
    fig = plots.figure(figsize=(8.5, 4.5))
    ax = fig.add_subplot()
    for i, (label, curves) in enumerate(context.kept.items()):
        color = plots.COLORS[i % len(plots.COLORS)]
        ax.plot(curves["round"], curves["worst_accuracy"], color=color, label=label)
    ax.set(xlabel="communication rounds", ylabel="worst-client test accuracy", ylim=(0, 1))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    context.save(fig, "cifar10")
