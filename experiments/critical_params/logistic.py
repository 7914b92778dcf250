"""Logistic regression on real data: are the knees where the estimate predicts them?

Critical parameters, arXiv 2103.02351; question T6 of this repository.

    python -m experiments critical_params logistic

T6: logistic regression, measured knees of batch and delay against two estimates.
Cost: 1 minute on 2 cores.
Expected: knees of 70 to 380; the estimate by curvature fits digits, the other breast cancer.

    python -m experiments critical_params logistic_mnist

The same on 2000 images of MNIST, to 3 % of the first suboptimality.
Cost: 3 minutes on 2 cores.
Expected: knees of 711 and 609, estimates of 169 and, by curvature, 425.
"""

import functools

import jax
import numpy as np
from sklearn.datasets import load_breast_cancer

import jcollab as jc
from experiments.contract import Context, Rows
from experiments.critical_params import _common as common
from experiments.fields import Count, Fraction, Natural, Positive, Settings


class Config(Settings):
    """Data sets, batches and delays."""

    datasets: tuple[str, ...] = ("breast_cancer", "digits")  # scikit-learn's, or TFDS image sets
    batches: tuple[Count, ...] = (1, 4, 16, 64, 256, 1024, 4096)  # values of b
    delays: tuple[Natural, ...] = (0, 10, 30, 100, 300)  # values of tau
    # target, as a share of the first suboptimality
    target: Fraction = 0.01
    regularization: Positive = 1e-3  # l2
    examples: Count = 4000  # at most so many
    num_seeds: Count = 8
    max_steps: Count = 100_000  # runs end after so many steps
    seed: int = 0  # the first one


PRESETS = {
    "logistic": Config(),
    "logistic_mnist": Config(
        datasets=("mnist",),
        batches=(1, 4, 16, 64, 256, 1024),
        delays=(0, 10, 30, 100, 300),
        target=0.03,
        examples=2000,
        num_seeds=4,
    ),
}
SMALL = {"datasets": ("breast_cancer",), "batches": (1,), "delays": (0,), "examples": 64}
SMOKE = dict.fromkeys(PRESETS, SMALL | {"num_seeds": 2, "max_steps": 30})
# knees of every data set
figures = functools.partial(common.figures, "logistic")


def tabular(name: str, examples: int, seed: int) -> jc.data.Dataset:
    """Loads standardized or centered features with a constant, and labels."""
    if name == "breast_cancer":
        x, y = load_breast_cancer(return_X_y=True)
        x = ((x - x.mean(0)) / x.std(0))[:examples]
    else:
        images = jc.data.load(name)
        chosen = np.random.default_rng(seed).permutation(len(images.y))[:examples]
        x, y = images.x[chosen].reshape(len(chosen), -1), images.y[chosen]
        x = x - x.mean(0)
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    return jc.data.Dataset(x.astype(np.float32), y[: len(x)].astype(np.int32))


def run(config: Config, context: Context) -> Rows:
    """Measures the knees of every data set."""
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    for name in context.cases(config.datasets):
        examples = tabular(name, config.examples, config.seed)
        outputs, l2 = int(examples.y.max()) + 1, config.regularization
        problem = common.logistic(name, examples, outputs, l2, config.target, config.max_steps)
        yield from common.measure(problem, config, 0.1, seeds, context)


claims, shown = common.claims, common.shown
