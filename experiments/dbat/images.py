"""Accuracy of ensembles where the shortcut of the training data breaks.

D-BAT, arXiv 2202.04414, dominoes and Colored-MNIST.

    python -m experiments dbat digits

Scikit-learn's digits: 0 or 1 over 3 or 8, tops are the shortcut.
Cost: 1 minute on 2 cores, no download.
Expected: tops shuffled: D-BAT's second member well above the first.

    python -m experiments dbat dominoes

MNIST over Fashion-MNIST, both unlabeled sets; ERM, deep ensemble, D-BAT.
Cost: 4 minutes on 2 cores, MNIST and Fashion-MNIST in JCOLLAB_DATA.
Expected: MNIST shuffled: ERM 52.9 %, D-BAT 94.8 % (same set) and 89.0 % (different).

    python -m experiments dbat colored_mnist

MNIST in colors that show the digit, and then do not.
Cost: 50 minutes on 2 cores, MNIST in JCOLLAB_DATA.
Expected: random colors: ERM 12.3 % and 27.1 %, D-BAT 90.2 % and 90.1 %.

    python -m experiments dbat cifar_dominoes

MNIST over CIFAR-10 (car or truck).
Cost: a GPU, MNIST and CIFAR-10 in JCOLLAB_DATA.
Expected: MNIST shuffled: ERM 50.0 %, D-BAT 73.3 % and 58.0 %.
"""

from typing import Annotated, Any, Literal

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, at_most, averaged
from experiments.dbat import _training
from experiments.dbat._training import DIGITS, TINY, Dataset, Pool, Problem, train
from experiments.fields import Bound, Count, Plural, Positive
from experiments.tasks import select

Method = Literal["D-BAT", "deep ensemble"]
# bounds in per cent with a broken shortcut: ERM at most, D-BAT at least for each unlabeled set
BOUNDS = {
    "digits": ((60, "%"), (85, "%"), (75, "%")),
    "dominoes": ((56, "paper 52.9 %"), (92, "paper 94.8 %"), (85, "paper 89.0 %")),
    "cifar_dominoes": ((52, "paper 50.0 %"), (70, "paper 73.3 %"), (55, "paper 58.0 %")),
    "colored_mnist": ((20, "paper 12.3 %"), (85, "paper 90.2 %"), (85, "paper 90.1 %")),
}


class Config(_training.Config):
    """Members in sequence; pairs of values are for the first and for each later member."""

    pools: tuple[Pool, ...] = ("test", "different")  # unlabeled sets
    alphas: tuple[float, ...] = (0.5, 1.0)  # weight of the agreement, for each pool
    methods: Annotated[tuple[Method, ...], Bound(containing="D-BAT")] = ("D-BAT", "deep ensemble")
    members: Plural = 2  # M
    rounds: tuple[Count, Count] = (360, 360)
    learning_rates: tuple[Positive, Positive] = (5e-4, 5e-4)
    # momentum of SGD is .9
    optimizers: tuple[Literal["adamw", "sgd"], Literal["adamw", "sgd"]] = ("adamw", "adamw")

    def _check(self) -> None:
        if len(self.alphas) != len(self.pools) or min(self.alphas) < 0:
            raise ValueError(f"alphas must be at least 0, one for each pool, got {self.alphas}")


CIFAR: Any = {"problem": "cifar_dominoes", "channels": (32, 56), "hidden": (512, 256)}
COLORED: Any = {"problem": "colored_mnist", "optimizers": ("adamw", "sgd"), "variance": 0.333}
PRESETS = {
    "digits": Config(**DIGITS, rounds=(300, 600), learning_rates=(1e-3, 1e-3)),
    "dominoes": Config(batch_size=128, shrink=2),
    "colored_mnist": Config(
        **COLORED, alphas=(2.0, 2.0), rounds=(1477, 1477), learning_rates=(5e-3, 5e-3)
    ),
    "cifar_dominoes": Config(
        **CIFAR, alphas=(0.1, 1.0), rounds=(1350, 1350), learning_rates=(1e-3, 1e-3)
    ),
}
SMOKE = dict.fromkeys(PRESETS, TINY | {"rounds": (2, 2)})
# means over seeds, with the standard deviation of the headline
shown = averaged("unlabeled method member", "shortcut_broken")


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each unlabeled set, seed, method and member (or their ensemble)."""
    alphas = dict(zip(config.pools, config.alphas, strict=True))
    members = {str(m + 1): m for m in range(config.members)} | {"mean": -1}
    decay, options = config.weight_decay, config.disagreement | {"members": config.members}
    options["optimizers"] = [
        optax.sgd(rate, momentum=0.9) if name == "sgd" else optax.adamw(rate, weight_decay=decay)
        for name, rate in zip(config.optimizers, config.learning_rates, strict=True)
    ]
    for problem in context.cases(make(config)):
        names = list(problem.pools)
        conditions = [("D-BAT", alphas[name], name) for name in names]
        if "deep ensemble" in config.methods:
            conditions.append(("deep ensemble", 0.0, names[0]))
        data, own = (problem.train, problem.pools), [own[1:] for own in conditions]
        _, later = train(context, config, problem.model, *data, own, **options)
        if later is None:
            return
        for k, (method, alpha, name) in enumerate(conditions):
            # without agreement, the unlabeled set matters only if its labeled data differ
            pool = name if alpha or len(names) == 1 else "none"
            yield from problem.rows(later, k, "member", members, unlabeled=pool, method=method)
            label = label_of(method, alpha, name) + (f", {name}" if len(names) == 1 else "")
            context.kept[label] = later.log(k)["agreement"]


def label_of(method: str, alpha: float, pool: str) -> str:
    """Returns the name of a method, with its unlabeled set if it has an effect."""
    return f"{method} ({pool})" if alpha else method


def make(config: Config) -> list[Problem]:
    """Builds the problem for each unlabeled set; labeled data may differ."""
    if config.problem == "colored_mnist":
        rng = np.random.default_rng(_training.SPLIT_SEED)
        return [_colored(config, pool, rng) for pool in config.pools]
    problem = _training.dominoes(config)
    return [problem._replace(pools={name: problem.pools[name] for name in config.pools})]


def _colored(config: Config, pool: str, rng: np.random.Generator) -> Problem:
    """Builds digits whose colors show the label; with the different pool, digits 0 to 4 only."""
    classes = 10 if pool == "test" else 5
    known, seen = (jc.data.load("mnist", part) for part in ("train", "test"))
    known = select(known, rng.permutation(len(known.y))[: config.examples])
    order = rng.permutation(len(seen.y))
    random, free, fixed = (select(seen, rows) for rows in np.split(order, (2000, 8000)))
    train, random, fixed = (select(part, part.y < classes) for part in (known, random, fixed))
    if pool != "test":
        free = select(free, free.y >= classes)

    def painted(part: Dataset) -> np.ndarray:
        return jc.data.synthetic.colored(part.x, rng.integers(0, classes, len(part.y)))

    tests = {
        "test_accuracy": Dataset(jc.data.synthetic.colored(fixed.x, fixed.y), fixed.y),
        "shortcut_broken": Dataset(painted(random), random.y),
    }
    labeled = Dataset(jc.data.synthetic.colored(train.x, train.y), train.y)
    problem = Problem(labeled, {pool: painted(free)}, tests, config.make_network(classes))
    return _training.smaller(problem, config.shrink)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Later members cannot use the shortcut; means over seeds."""
    means = {
        (line["method"], line["member"], line["unlabeled"]): line["shortcut_broken"]
        for line in shown(config, rows)
    }
    erm, *least = BOUNDS[config.problem]
    sentence = "the first member (ERM) goes by the shortcut: accuracy where it is broken"
    yield at_most(sentence, means["D-BAT", "1", config.pools[0]], erm[0], note=erm[1])
    second = {pool: means["D-BAT", "2", pool] for pool in config.pools}
    for pool, (bound, note) in zip(("test", "different"), least, strict=True):
        if pool in second:
            sentence = f"the second member does not go by the shortcut (unlabeled: {pool})"
            yield at_least(sentence, second[pool], bound, note=note)
    plain = [value for key, value in means.items() if key[:2] == ("deep ensemble", "2")]
    if plain:
        gap = min(second.values()) - np.mean(plain)
        sentence = "a second member without the agreement stays with the shortcut: D-BAT is ahead"
        yield at_least(f"{sentence} by", gap, 20, note="points")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Accuracies of members on each test, and how members come to disagree."""
    lines = [line for line in shown(config, rows) if line["member"] != "mean"]
    context.save(_training.figure(lines, context.kept), config.problem)
