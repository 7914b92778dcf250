"""Client drift on CIFAR-10: FedGA, FedDyn and SCAFFOLD against FedAvg, all tuned alike.

Belongs to no single paper; the README has those of the methods.

    python -m experiments federated cifar10

10 of 100 clients a round, labels Dirichlet(0.1), a narrow network on 16 x 16 pixels.
Cost: half an hour of one core; needs CIFAR-10 in JCOLLAB_DATA.
Expected: FedAvg .511, FedDyn .540, FedGA .503, SCAFFOLD .475.
"""

from collections.abc import Callable
from typing import Annotated, Any

import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, averaged, groups
from experiments.drawing import draw_curves
from experiments.fields import Bound, Count, Positive, Settings
from experiments.paired import above_zero, gain
from experiments.tasks import Task, average_squares, hold_out, load_normalized
from experiments.training import Tune, partitions, replicated, train_replicas
from jcollab import local

# methods by name, from the learning rate and the number of local steps
METHODS: dict[str, Callable[[Any, int], local.ClientMethod]] = {
    "FedAvg": lambda rate, steps: local.fedavg(),
    "SCAFFOLD": lambda rate, steps: local.scaffold(),
    "FedGA": lambda rate, steps: local.fedga(rate / 2),
    "FedGA c=0": lambda rate, steps: local.fedga(rate * (steps - 1) / 2),
    "FedDyn 0.1": lambda rate, steps: local.feddyn(0.1),
    "FedDyn 0.01": lambda rate, steps: local.feddyn(0.01),
    # not in the preset
    "SCAFFOLD recomputed": lambda rate, steps: local.scaffold(recomputed=True),
    "FedProx": lambda rate, steps: local.fedprox(0.1),
}


class Config(Settings):
    """Methods, data and network."""

    dataset: str = "cifar10"
    methods: tuple[Annotated[str, Bound(among=METHODS)], ...] = tuple(METHODS)[:6]
    n: Count = 100  # clients
    num_sampled: Annotated[int, Bound(at_least=1, at_most="n")] = 10  # sampled in a round
    alpha: Positive = 0.1  # Dirichlet concentration of the labels
    local_steps: Count = 10  # H
    batch_size: Count = 20  # examples of a local step
    rounds: Count = 150  # T
    learning_rates: tuple[Positive, ...] = (0.03, 0.1, 0.3)  # tuned on validation data of one seed
    shrink: Count = 2  # pixels of a side that are averaged
    channels: tuple[Count, ...] = (16, 32)  # of the 3 x 3 convolutions
    hidden: Count = 64  # width of the dense layer
    evaluations: Count = 10  # points of the curves
    eval_examples: Count = 2000  # test and validation examples of the curves
    num_seeds: Count = 5  # each with its own partition
    seed: int = 0  # the first one, on which learning rates are tuned


PRESETS = {"cifar10": Config()}
SMALL = {"dataset": "digits", "n": 6, "num_sampled": 3, "local_steps": 2, "batch_size": 4}
SMALL |= {"shrink": 1, "channels": (4,), "hidden": 8, "rounds": 4, "evaluations": 2}
SMALL |= {"methods": ("FedAvg", "FedGA"), "learning_rates": (0.1, 0.3), "num_seeds": 2}
SMOKE = {"cifar10": SMALL}
# means over seeds
shown = averaged("method", "accuracy")


def run(config: Config, context: Context) -> Rows:
    """Tunes every method on one seed, then trains all seeds in one program."""
    task = make_task(config)
    loss = jc.objectives.classification(task.model.apply)
    labels, seeds = task.train.y, config.seeds
    parts = [jc.data.dirichlet(labels, config.n, config.alpha, seed=seed) for seed in seeds]
    start = replicated(task.model, config.n, task.train.x[:1])

    def train(method: str, parts: list[Any], rates: Any, **options: Any) -> Any:
        def build(setting: Any) -> jc.Algorithm:
            rate = setting["learning_rate"]
            return jc.federated(
                loss,
                optax.sgd(rate),
                method=METHODS[method](rate, config.local_steps),
                num_sampled=config.num_sampled,
                local_steps=config.local_steps,
            )

        batches = jc.data.minibatches(partitions(parts, task.train), config.batch_size)
        options |= {"settings": {"learning_rate": rates}, "seeds": seeds[: len(parts)]}
        return train_replicas(
            context, build, start, batches, evaluate=task.evaluate, tolerant=True, **options
        )

    measure = jc.metrics.accuracy(task.model.apply, *task.test)
    for method in context.cases(config.methods):
        tune = Tune("validation_mean_accuracy", last=2)
        tuned = train(method, parts[:1], config.learning_rates, tune=tune, tags={"tuned": method})
        if not tuned.finished:
            return
        rate = float(tuned.setting()["learning_rate"])
        done = train(method, parts, (rate,), tags={"method": method})
        accuracy = done.measure(measure)["mean_accuracy"]
        losses = done.log()["loss"][:, -10:].mean(1)
        for seed, *values in zip(seeds, accuracy, losses, strict=True):
            row = {"method": method, "learning_rate": rate, "seed": int(seed)}
            yield row | dict(zip(("accuracy", "loss"), map(float, values), strict=True))
        curves = done.curves()
        context.kept[method] = {
            "round": curves["round"],
            "test accuracy": curves["test_mean_accuracy"],
        }


def make_task(config: Config) -> Task:
    """Loads images, averages them over squares, and builds the network."""
    known, test = (
        jc.data.Dataset(average_squares(part.x, config.shrink), part.y)
        for part in load_normalized(config.dataset)
    )
    classes = int(known.y.max()) + 1
    model = jc.models.CNN(classes, config.channels, (config.hidden,), kernel=3)
    return Task(*hold_out(known), test, model, config.eval_examples)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Each correction of drift is more accurate than FedAvg; differences are paired by seed."""
    cases = {method: own for (method,), own in groups(rows, "method").items()}
    plain = cases.pop("FedAvg", None)
    for method, own in cases.items() if plain else ():
        claim = f"{method} is more accurate than FedAvg (test, paired)"
        yield above_zero(claim, gain(own, plain, "accuracy"))


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws test accuracies against rounds."""
    title = f"{config.dataset}: {config.num_sampled} of {config.n} clients a round, "
    title += f"Dirichlet({config.alpha:g})"
    fig = draw_curves({title: context.kept}, "test accuracy")
    context.save(fig, "federated_cifar10")
