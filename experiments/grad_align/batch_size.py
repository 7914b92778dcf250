"""Small batches, large batches, and large batches with alignment, at equal numbers of steps.

Implicit gradient alignment, arXiv 2106.13897, the comparison of batch sizes.

    python -m experiments grad_align batch_size

SGD with batches of 4, with batches of 64, and GradAlign with 16 batches of 4, on 200 digits.
Cost: 1 minute on 2 cores.
Expected: all at .915, with half of the variance of gradients for GradAlign.

    python -m experiments grad_align batch_size_fashion

The same on 1000 images of Fashion-MNIST, 14 x 14 pixels.
Cost: 2 minutes on 2 cores; needs Fashion-MNIST in JCOLLAB_DATA.
Expected: small batch .796, large batch .803, GradAlign .806.

    python -m experiments grad_align batch_size_cifar10

SGD with 8 and 64, and GradAlign with 8 batches of 8, a small CNN on 500 images of CIFAR-10.
Cost: 4 minutes of one core; needs CIFAR-10 in JCOLLAB_DATA.
Expected: small batch .342, large batch .338, GradAlign .345.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import numpy as np
import optax
from matplotlib import ticker

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, averages, below, groups
from experiments.fields import Bound, Count, Positive, Settings, Share
from experiments.paired import above_zero, gain
from experiments.tasks import Task, average_squares, hold_out, load_normalized
from experiments.training import Replicas, Tune, replicated, train_replicas
from jcollab import plots

METHODS = ("small batch", "large batch", "GradAlign")
MEASURES = ("test_loss", "train_loss", "gradient_variance")


class Config(Settings):
    """Batches, network and learning rates."""

    dataset: str = "digits"  # or "fashion_mnist", "cifar10" with JCOLLAB_DATA
    network: Literal["mlp", "cnn"] = "mlp"
    hidden: Count = 64  # width of the dense layer
    channels: tuple[Count, ...] = (8, 16)  # of the CNN's 3 x 3 convolutions
    shrink: Count = 1  # pixels of a side that are averaged
    examples: Count = 200  # for training; few, so that all methods fit them
    batch_size: Count = 4  # b, of the small batch, and of each of the k parts of a large one
    factor: Annotated[int, Bound(at_least=2)] = 16  # k, the large batch has k b examples
    rounds: Count = 2000  # T, steps of every method
    learning_rates: tuple[Positive, ...] = (0.1, 0.2, 0.4, 0.8)  # gamma, tuned by validation
    decay: Share = 0.25  # last share of the steps, in which the learning rate falls to 0
    multiple: Positive = 0.5  # beta / gamma, before the decay
    num_seeds: Count = 5  # initial models and draws of batches
    seed: int = 0  # the first one
    evaluations: Count = 20  # points of the curves
    eval_examples: Count = 2000  # validation and test examples of the curves
    variance_batches: Count = 32  # batches of b whose gradients' variance is measured
    level: Positive = 0.1  # training loss at which variances are compared


PRESETS = {
    "batch_size": Config(),
    "batch_size_fashion": Config(
        dataset="fashion_mnist",
        shrink=2,
        examples=1000,
        rounds=3000,
        learning_rates=(0.05, 0.1, 0.2, 0.4),
        level=0.5,
    ),
    "batch_size_cifar10": Config(
        dataset="cifar10",
        network="cnn",
        shrink=2,
        examples=500,
        rounds=1000,
        batch_size=8,
        factor=8,
        learning_rates=(0.05, 0.1, 0.2),
        evaluations=10,
        level=0.5,
    ),
}
SMALL = {"dataset": "digits", "network": "mlp", "hidden": 4, "rounds": 4, "evaluations": 2}
SMALL |= {"shrink": 1, "factor": 2, "learning_rates": (0.1, 0.2), "variance_batches": 4}
SMALL |= {"num_seeds": 2, "examples": 100}
SMOKE = dict.fromkeys(PRESETS, SMALL)


def run(config: Config, context: Context) -> Rows:
    """Trains each method with all learning rates and seeds in one program."""
    task = make_task(config)
    loss = jc.objectives.classification(task.model.apply)
    evaluate = _evaluation(config, task, loss)
    everything = np.arange(len(task.train.y))
    measure = jc.metrics.accuracy(task.model.apply, *task.test)
    for method in context.cases(METHODS):
        workers = 1 if method == "small batch" else config.factor
        data = jc.data.by_client(task.train, [everything] * workers)

        def build(setting: Any, method: str = method) -> jc.Algorithm:
            gamma, rounds = setting["learning_rate"], config.rounds
            steps = max(1, round(config.decay * rounds))
            sgd = optax.sgd(optax.linear_schedule(gamma, 0.0, steps, rounds - steps))
            if method == "GradAlign":
                return jc.algorithms.grad_align(loss, sgd, config.multiple * gamma)
            return jc.centralized(loss, sgd)

        done = train_replicas(
            context,
            build,
            replicated(task.model, workers, task.train.x[:1]),
            jc.data.minibatches(data, config.batch_size),
            data_axes=None,
            settings={"learning_rate": config.learning_rates},
            evaluate=evaluate,
            tune=Tune("validation_accuracy", last=2),
            tags={"method": method},
        )
        yield from _rows(config, done, method, measure)
        context.kept[method] = done.curves()


def _rows(config: Config, done: Replicas, method: str, measure: Callable[..., Any]) -> Rows:
    """Yields a row for each learning rate and seed."""
    for k, rate in enumerate(config.learning_rates):
        last, curves = done.last(k), done.curves(k)
        accuracy = done.measure(measure, k)["mean_accuracy"]
        for i, seed in enumerate(done.seeds):
            row = {"method": method, "learning_rate": rate, "chosen": k == done.best}
            row |= {"seed": int(seed), "test_accuracy": float(accuracy[i])}
            row |= {name: float(last[name][i]) for name in MEASURES}
            losses, variances = (curves[name][i] for name in MEASURES[1:])
            yield row | {"variance_at_level": at_level(losses, variances, config.level)}


def at_level(losses: np.ndarray, variances: np.ndarray, level: float) -> float:
    """Interpolates the variance where the training loss first passes a level; NaN if never."""
    (below,) = np.nonzero(losses <= level)
    if not len(below) or below[0] == 0:
        return np.nan
    pair = slice(below[0] - 1, below[0] + 1)
    x, y = np.log(losses[pair][::-1]), np.log(variances[pair][::-1])
    return float(np.exp(np.interp(np.log(level), x, y)))


def make_task(config: Config) -> Task:
    """Loads images, holds out validation data, and builds the network."""
    known, test = load_normalized(config.dataset)
    if config.shrink > 1:
        known, test = (
            jc.data.Dataset(average_squares(part.x, config.shrink), part.y)
            for part in (known, test)
        )
    train, validation = hold_out(known)
    train = jc.data.Dataset(*(part[: config.examples] for part in train))
    classes = int(known.y.max()) + 1
    model: Any = jc.models.MLP(classes, (config.hidden,))
    if config.network == "cnn":
        model = jc.models.CNN(classes, config.channels, (config.hidden,), kernel=3)
    return Task(train, validation, test, model, config.eval_examples)


def _evaluation(config: Config, task: Task, loss: Any) -> Callable[[jc.State], dict[str, Any]]:
    """Returns accuracies, losses, and the variance of the gradients of batches of b."""
    parts = jc.data.iid(len(task.train.y), len(task.train.y) // config.batch_size)
    rows = np.stack([part[: config.batch_size] for part in parts[: config.variance_batches]])
    spread = jc.metrics.gradient_variance(loss, jax.tree.map(lambda leaf: leaf[rows], task.train))

    def evaluate(state: jc.State) -> dict[str, Any]:
        model = jax.tree.map(lambda leaf: leaf[0], jc.params_of(state))
        measured = spread(state)
        del measured["mean_loss"]
        for name in ("train", "validation", "test"):
            part = jax.tree.map(lambda leaf: leaf[: task.seen], getattr(task, name))
            value, metrics = loss(model, part, jax.random.key(0))
            measured |= {f"{name}_loss": value, f"{name}_accuracy": metrics["accuracy"]}
        return measured

    return evaluate


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns means over seeds."""
    return averages(rows, "method learning_rate chosen", "test_accuracy")


def claims(config: Config, rows: list[Row]) -> Claims:
    """The large batch loses, and alignment wins it back and lowers the variance of gradients."""
    tuned = {m: [r for r in rows if r["method"] == m and r["chosen"]] for m in METHODS}
    small, large, aligned = (tuned[method] for method in METHODS)
    rest = "(test, each tuned, paired)"
    loses = f"the small batch is more accurate than the large one {rest}"
    yield above_zero(loses, gain(small, large, "test_accuracy"))
    wins = f"GradAlign is more accurate than the large batch {rest}"
    yield above_zero(wins, gain(aligned, large, "test_accuracy"))
    ratios = []
    cases = groups(rows, "method learning_rate")
    for rate in config.learning_rates:
        own, other = (
            [row["variance_at_level"] for row in cases[method, rate]]
            for method in ("GradAlign", "large batch")
        )
        if None not in own + other:
            ratios.append(np.mean(own) / np.mean(other))
    if ratios:
        claim = f"at training loss {config.level:g}, GradAlign has a lower variance of gradients "
        claim += "than the large batch with the same learning rate (largest ratio)"
        yield below(claim, max(ratios), 1)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws test error, training loss and variance with the chosen learning rates."""
    fig, axes = plots.subplots(1, 3, figsize=(14, 4.2))
    for i, (method, curve) in enumerate(context.kept.items()):
        style = {"color": plots.COLORS[i], "ls": plots.DASHES[i], "label": method}
        plots.band(axes[0], curve["round"], 1 - curve["test_accuracy"], **style)
        plots.band(axes[1], curve["round"], curve["gradient_variance"], **style)
        loss, variance = (curve[name].mean(0) for name in ("train_loss", "gradient_variance"))
        axes[2].plot(loss, variance, "o-", ms=4, color=plots.COLORS[i], label=method)
    axes[0].set(title=f"{config.dataset}: test error", xlabel="steps", yscale="log")
    axes[1].set(title="variance of gradients", xlabel="steps", yscale="log")
    axes[2].set(title="variance against training loss", xlabel="training loss")
    axes[2].set(xscale="log", yscale="log")
    axes[2].legend()
    for axis in (axes[0].yaxis, axes[1].yaxis, axes[2].xaxis, axes[2].yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    context.save(fig, "batch_size")
