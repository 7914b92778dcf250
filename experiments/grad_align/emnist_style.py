"""The paper's federated setting: a few sampled clients with one class each.

Implicit gradient alignment, arXiv 2106.13897, the federated experiments.

    python -m experiments grad_align emnist_style

47 clients with one class each, 10 sampled, MNIST: FedGA, SCAFFOLD, FedProx, SGD.
Cost: 6 minutes on 2 cores (--dataset digits --examples 30: 2).
Expected: FedAvg .878, FedGA .893 to .924, SCAFFOLD .921; beta = .5 is too large (.741).
"""

import functools
from typing import Annotated, Any

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, averaged, groups
from experiments.fields import EMPTY, Bound, Count, Positive
from experiments.grad_align import _training as training

METHODS = ("large-batch SGD", "FedProx", "SCAFFOLD", "FedGA")


class Config(training.Config):
    """Clients with one class each, few of them sampled in a round."""

    dataset: str = "mnist"
    n: Count = 47
    num_sampled: Annotated[int, Bound(at_least=1, at_most="n")] = 10
    examples: Count | None = 100
    rounds: Count = 300
    num_seeds: Count = 3
    methods: tuple[Annotated[str, Bound(among=METHODS)], ...] = METHODS  # FedAvg is FedGA at 0
    local_steps: Count = 10  # K, each on all examples of the client
    gamma: Positive = 0.05  # learning rate of local steps
    betas: training.Displacements = (0.0, 0.025, 0.1, 0.225, 0.5)  # displacements of FedGA
    strengths: Annotated[tuple[Positive, ...], EMPTY] = (0.01, 0.1, 1.0)  # mu of FedProx
    large_batch_gamma: Positive = 0.2  # learning rate of large-batch SGD


PRESETS = {"emnist_style": Config()}
SMALL = training.SMALL | {"methods": ("FedGA",), "betas": (0.0, 0.1), "local_steps": 4}
SMOKE = {"emnist_style": SMALL}
# means over seeds
shown = averaged("method beta mu c")
# error, loss and variance over rounds
figures = functools.partial(training.figures, "emnist_style")


def run(config: Config, context: Context) -> Rows:
    """Trains all settings and seeds of a method in one program."""
    task = training.make_task(config, lambda labels: jc.data.by_label(labels, config.n))
    pure = sum(len(np.unique(labels)) == 1 for labels in task.shards.y)
    settings = {"FedGA": ("beta", config.betas), "FedProx": ("mu", config.strengths)}
    for method in context.cases(config.methods):
        field, values = settings.get(method, ("", (0.0,)))
        if not values:
            continue

        def build(loss: Any, value: Any, method: str = method) -> jc.Algorithm:
            rate, steps = config.gamma, config.local_steps
            if method == "large-batch SGD":
                rate, steps = config.large_batch_gamma, 1
            parts = optax.add_decayed_weights(config.weight_decay), optax.sgd(rate)
            sampled = {"num_sampled": config.num_sampled}
            return training.local_method(method, loss, value, steps, *parts, **sampled)

        names = method, "FedAvg"
        for row in training.train(context, config, task, names, field, values, build, config.n):
            c = None if field else 0.0
            if field == "beta":
                c = round(row["beta"] - config.gamma * (config.local_steps - 1) / 2, 12)
            base = {"method": method, "beta": None, "mu": None, "c": c}
            yield base | row | {"pure_clients": pure}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Alignment lowers the variance and raises the accuracy; differences are paired by seed."""
    cases = groups(rows, "method beta mu")
    plain = cases.get(("FedAvg", 0.0, None))
    aligned = {beta: own for (name, beta, _), own in sorted(cases.items()) if name == "FedGA"}
    if not plain or not aligned:
        return
    yield from training.alignment_claims("FedGA", aligned, "FedAvg", plain)
    best = max(aligned.values(), key=training.accuracy)
    for rival in ("SCAFFOLD", "FedProx", "large-batch SGD"):
        others = [own for (name, *_), own in cases.items() if name == rival]
        if others:
            other, name = max(others, key=training.accuracy), f"the best {rival}"
            yield training.more_accurate("the best FedGA", best, name, other)
