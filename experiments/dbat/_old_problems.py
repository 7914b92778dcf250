"""Image sets with a shortcut: training, unlabelled and test sets by name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import jcollab as jc
from experiments.dbat.kinds import Images, Pictures
from experiments.tasks import average_squares

Dataset = jc.data.Dataset
SPLIT_SEED = 42  # the pools are the same for all seeds
TESTS = ("test_accuracy", "shortcut_broken", "feature_broken")


class Problem(NamedTuple):
    """What an experiment with images is about.

    Attributes:
        train: labelled images.
        pools: unlabelled images: ``"test"`` from the test distribution, and ``"different"``.
        tests: as in training, with the shortcut broken, and where there is one with the other
            feature broken.
        outputs: of the network.
    """

    train: Dataset
    pools: dict[str, np.ndarray]
    tests: dict[str, Dataset]
    outputs: int


def make(config: Images) -> dict[str, Problem]:
    """The problem for each unlabelled set, where they differ in their labelled data."""
    if config.problem == "colored_mnist":
        rng = np.random.default_rng(SPLIT_SEED)
        made = {pool: _colored(config, pool, rng) for pool in config.pools}
        return {pool: smaller(problem, config.shrink) for pool, problem in made.items()}
    problem = dominoes(config)
    pools = {name: problem.pools[name] for name in config.pools}
    return {"both": problem._replace(pools=pools)}


def dominoes(config: Pictures) -> Problem:
    """Dominoes, with both unlabelled sets."""
    return smaller(_dominoes(config, np.random.default_rng(SPLIT_SEED)), config.shrink)


def smaller(problem: Problem, factor: int) -> Problem:
    """The problem with images averaged over squares of ``factor`` pixels."""
    if factor == 1:
        return problem

    def shrunk(data: Dataset) -> Dataset:
        return data._replace(x=average_squares(data.x, factor))

    pools = {name: average_squares(x, factor) for name, x in problem.pools.items()}
    tests = {name: shrunk(test) for name, test in problem.tests.items()}
    return problem._replace(train=shrunk(problem.train), pools=pools, tests=tests)


def _dominoes(config: Pictures, rng: np.random.Generator) -> Problem:
    if config.problem == "digits":
        tops, pairs = _split("digits", config, rng), [(0, 3), (1, 8)]
        bottoms = _split("digits", config, rng)
        others = [2, 4, 5, 6, 7, 9]
    elif config.problem == "dominoes":
        tops, pairs = _split("mnist", config, rng), [(0, 4), (1, 3)]
        bottoms = _split("fashion_mnist", config, rng)
        others = [0, 1, 2, 5, 6, 7, 8, 9]
    else:
        tops, pairs = [_as_color(part) for part in _split("mnist", config, rng)], [(0, 1), (1, 9)]
        bottoms = _split("cifar10", config, rng)
        others = [0, 2, 3, 4, 5, 6, 7, 8]
    above, below = zip(*pairs, strict=True)
    train = jc.data.dominoes(tops[1], bottoms[1], pairs, rng)
    test = jc.data.dominoes(tops[2], bottoms[2], pairs, rng)
    pools = {
        "test": jc.data.unlabelled_dominoes(tops[0], bottoms[0], (above, below), rng),
        "different": jc.data.unlabelled_dominoes(tops[0], bottoms[0], (above, others), rng),
    }
    tests = {
        "test_accuracy": test,
        "shortcut_broken": Dataset(jc.data.permute_half(test.x, rng, "top"), test.y),
        "feature_broken": Dataset(jc.data.permute_half(test.x, rng, "bottom"), test.y),
    }
    return Problem(train, pools, tests, 1)


def _colored(config: Images, pool: str, rng: np.random.Generator) -> Problem:
    """Colours that tell the digit in training; with a different pool, of digits 0 to 4 only."""
    classes = 10 if pool == "test" else 5
    known, seen = (jc.data.load("mnist", part) for part in ("train", "test"))
    order = rng.permutation(len(known.y))[: config.examples]
    known = Dataset(np.asarray(known.x[order]), known.y[order])
    order = rng.permutation(len(seen.y))
    random, free, fixed = (
        Dataset(np.asarray(seen.x[rows]), seen.y[rows]) for rows in np.split(order, (2000, 8000))
    )
    train, random, fixed = (_below(part, classes) for part in (known, random, fixed))
    if pool != "test":
        free = Dataset(*(leaf[free.y >= classes] for leaf in free))

    def painted(part: Dataset) -> np.ndarray:
        return jc.data.colored(part.x, rng.integers(0, classes, len(part.y)))

    tests = {
        "test_accuracy": Dataset(jc.data.colored(fixed.x, fixed.y), fixed.y),
        "shortcut_broken": Dataset(painted(random), random.y),
    }
    labelled = Dataset(jc.data.colored(train.x, train.y), train.y)
    return Problem(labelled, {pool: painted(free)}, tests, classes)


def _split(name: str, config: Pictures, rng: np.random.Generator) -> list[Dataset]:
    """Images for the pools (a sixth, of digits a quarter), for training, and for testing."""
    known = jc.data.load(name, "train")
    order = rng.permutation(len(known.y))[: config.examples]
    share = len(order) // (4 if name == "digits" else 6)
    parts = [Dataset(np.asarray(known.x[r]), known.y[r]) for r in (order[:share], order[share:])]
    return [*parts, jc.data.load(name, "test")]


def _as_color(images: Dataset) -> Dataset:
    """MNIST in the shape of CIFAR-10."""
    x = np.pad(images.x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return Dataset(np.repeat(x, 3, -1), images.y)


def _below(data: Dataset, classes: int) -> Dataset:
    keep = data.y < classes
    return Dataset(data.x[keep], data.y[keep])
