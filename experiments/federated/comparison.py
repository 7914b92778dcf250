"""Federated methods on labels that differ between clients, with equal tuning.

Belongs to no single paper; the README has those of the methods.

    python -m experiments federated digits

Eight methods on scikit-learn's digits, 8 of 40 clients a round, two labels each.
Cost: 3 minutes on 2 cores.
Expected: all methods at .956 to .965.

    python -m experiments federated mnist

The same on MNIST, 10 of 100 clients a round (--dataset fashion_mnist).
Cost: 10 minutes on 2 cores.
Expected: .945 to .965; FedAvg .955, FedGA .958, FedDyn .965.
"""

from collections.abc import Callable
from typing import Annotated, Any

import matplotlib.ticker
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above
from experiments.drawing import draw_curves
from experiments.fields import Bound, Count, Positive, Settings
from experiments.tasks import make_task
from experiments.training import Tune, partitions, replicated, train_replicas
from jcollab import local

# arguments of jc.federated by method, from the learning rate and the number of local steps
METHODS: dict[str, Callable[[Any, int], dict[str, Any]]] = {
    "FedAvg": lambda rate, steps: {},
    "FedProx": lambda rate, steps: {"method": local.fedprox(0.1)},
    "SCAFFOLD": lambda rate, steps: {"method": local.scaffold()},
    # half the learning rate, as in the authors' commands
    "FedGA": lambda rate, steps: {"method": local.fedga(rate / 2)},
    # c = 0: cancels the effect of local steps on the variance of gradients
    "FedGA c=0": lambda rate, steps: {"method": local.fedga(rate * (steps - 1) / 2)},
    "FedDyn": lambda rate, steps: {"method": local.feddyn(0.1)},
    "FedAvgM": lambda rate, steps: {"server_optimizer": optax.sgd(1.0, momentum=0.9)},
    "FedAdam": lambda rate, steps: {"server_optimizer": optax.adam(0.01, eps=1e-3)},
    # not in the presets
    "SCAFFOLD recomputed": lambda rate, steps: {"method": local.scaffold(recomputed=True)},
    "FedNova": lambda rate, steps: {"method": local.fednova()},
    "FedYogi": lambda rate, steps: {"server_optimizer": optax.yogi(0.01)},
    "FedAdagrad": lambda rate, steps: {"server_optimizer": optax.adagrad(0.03)},
}


class Config(Settings):
    """Methods and data."""

    dataset: str = "digits"  # or "mnist", "fashion_mnist" with JCOLLAB_DATA
    methods: tuple[Annotated[str, Bound(among=METHODS)], ...] = tuple(METHODS)[:8]
    n: Count = 40  # clients
    num_sampled: Annotated[int, Bound(at_least=1, at_most="n")] = 8  # sampled in a round
    shards_per_client: Count = 2  # data sorted by label are cut into shards, dealt to clients
    local_steps: Count = 10  # H
    batch_size: Count = 10  # examples of a local step
    rounds: Count = 150  # T
    learning_rates: tuple[Positive, ...] = (0.03, 0.1, 0.3)  # the best on validation data is chosen
    hidden: Count = 64  # width of the MLP
    evaluations: Count = 15  # points of the curves
    eval_examples: Count = 360  # test and validation examples of the curves
    target: float = 0.9  # accuracy whose first round is reported
    num_seeds: Count = 3  # each with its own partition
    seed: int = 0  # the first one


PRESETS = {
    "digits": Config(),
    "mnist": Config(
        dataset="mnist",
        n=100,
        num_sampled=10,
        local_steps=20,
        batch_size=20,
        rounds=200,
        hidden=100,
        evaluations=20,
        eval_examples=2000,
        target=0.95,
    ),
}
SMALL = {"dataset": "digits", "n": 6, "num_sampled": 3, "local_steps": 2, "batch_size": 4}
SMALL |= {"rounds": 4, "hidden": 8, "evaluations": 2, "num_seeds": 2}
SMALL |= {"methods": ("FedAvg", "SCAFFOLD"), "learning_rates": (0.1, 0.3)}
SMOKE = {"digits": SMALL, "mnist": SMALL}


def run(config: Config, context: Context) -> Rows:
    """Trains every method with all learning rates and seeds in one program."""
    task = make_task(config.dataset, config.hidden, config.eval_examples)
    loss = jc.objectives.classification(task.model.apply)
    seeds = config.seeds
    shards, y = config.shards_per_client, task.train.y
    parts = [jc.data.by_label(y, config.n, shards_per_client=shards, seed=seed) for seed in seeds]
    for name in context.cases(config.methods):

        def build(setting: Any, name: str = name) -> jc.Algorithm:
            rate = setting["learning_rate"]
            return jc.federated(
                loss,
                optax.sgd(rate),
                num_sampled=config.num_sampled,
                local_steps=config.local_steps,
                **METHODS[name](rate, config.local_steps),
            )

        done = train_replicas(
            context,
            build,
            replicated(task.model, config.n, task.train.x[:1]),
            jc.data.minibatches(partitions(parts, task.train), config.batch_size),
            settings={"learning_rate": config.learning_rates},
            evaluate=task.evaluate,
            tune=Tune("validation_mean_accuracy", last=3),
            tags={"method": name},
        )
        final = done.measure(jc.metrics.accuracy(task.model.apply, *task.test))["mean_accuracy"]
        curves = done.curves()
        reached = curves["round"][curves["test_mean_accuracy"].mean(0) >= config.target]
        yield {
            "method": name,
            "learning_rate": done.setting()["learning_rate"],
            "accuracy": final.mean(),
            "std": final.std(),
            "loss": done.log()["loss"][:, -10:].mean(),
            "rounds_to_target": int(reached[0]) if len(reached) else None,
        }
        context.kept[name] = curves | {"error": 1 - curves["test_mean_accuracy"]}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Improvements over FedAvg that the papers report, with equal tuning."""
    accuracy = {row["method"]: row["accuracy"] for row in rows}
    if "FedAvg" not in accuracy:
        return
    yield from (
        above(f"{name} is more accurate than FedAvg (test)", accuracy[name] - accuracy["FedAvg"], 0)
        for name in ("SCAFFOLD", "FedGA", "FedGA c=0")
        if name in accuracy
    )
    best = max(accuracy.values())
    yield above(f"the best method passes {config.target:g}", best, config.target)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws test errors."""
    title = f"{config.dataset}: {config.num_sampled} of {config.n} clients a round"
    title += f", {config.shards_per_client} shards of labels each"
    fig = draw_curves({title: context.kept}, "error", ylabel="test error", yscale="log")
    axis = fig.axes[0].yaxis
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    context.save(fig, "accuracy")
