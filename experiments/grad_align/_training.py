"""Methods, training on images, and paired differences between methods."""

import itertools
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, below, columns, groups
from experiments.fields import Bound, Count, NonNegative, Settings
from experiments.training import replicated, train_replicas
from jcollab import plots

Dataset = jc.data.Dataset
SMALL = {"dataset": "digits", "hidden": 4, "n": 4, "num_sampled": 2, "examples": 5}
SMALL |= {"rounds": 4, "num_seeds": 2, "evaluations": 2, "eval_examples": 50}
MEASURES = ("test_accuracy", "test_loss", "train_loss", "gradient_variance")
# 0 is the baseline
Displacements = Annotated[tuple[NonNegative, ...], Bound(containing=0)]
OTHERS = {
    "large-batch SGD": (plots.COLORS[6], (0, (1, 1.5))),
    "SCAFFOLD": (plots.COLORS[1], (0, (4, 2))),
    "FedProx": (plots.COLORS[3], (0, (6, 2, 1, 2))),
}


class Config(Settings):
    """Fields of both experiments on images."""

    dataset: str = "digits"  # or "mnist", "fashion_mnist" or another TFDS image set
    network: Literal["cnn", "mlp"] = "mlp"  # the paper's CNN needs images of 28 x 28
    hidden: Count = 64  # width of the MLP
    n: Count = 94  # shards of the data
    num_sampled: Annotated[int, Bound(at_least=1, at_most="n")] = (
        20  # clients in a round, each with a shard
    )
    examples: Count | None = None  # of each client; None for all of its shard
    rounds: Count = 801  # T
    weight_decay: NonNegative = 1e-3  # in local steps only
    num_seeds: Count = 5  # initial models, and draws of clients
    seed: int = 0  # of the first
    evaluations: Count = 20  # points of the curves
    eval_examples: Count = 2000  # test examples for the curves; the final accuracy uses all

    def _check(self) -> None:
        if self.network == "cnn" and self.dataset == "digits":
            raise ValueError("network must be 'mlp' for digits, whose 8 x 8 pixels are too few")


def local_method(
    method: str, loss: Any, value: Any, steps: int, *parts: Any, **options: Any
) -> jc.Algorithm:
    """Builds a federated method with local steps on all data of a client.

    ``value`` is the displacement of "FedGA" or the penalty of "FedProx"; other methods ignore it.
    """
    chosen = jc.local.fedavg()
    if method == "FedGA":
        chosen = jc.local.fedga(value)
    elif method == "FedProx":
        chosen = jc.local.fedprox(value)
    elif method == "SCAFFOLD":
        chosen = jc.local.scaffold(recomputed=True)
    return jc.federated(loss, optax.chain(*parts), local_steps=steps, method=chosen, **options)


class Task(NamedTuple):
    """Data and model."""

    shards: Dataset  # leaves ``[n, m, ...]``, all examples of every client
    test: Dataset
    model: Any


def make_task(config: Config, deal: Callable[[np.ndarray], list[np.ndarray]]) -> Task:
    """Deals examples by ``deal(labels)`` and cuts all parts to the size of the smallest one.

    Raises:
        ValueError: if a part has fewer examples than the configuration requires.
    """
    train, test = (jc.data.load(config.dataset, split) for split in ("train", "test"))
    parts = deal(train.y)
    least = min(map(len, parts))
    if config.examples is not None and config.examples > least:
        raise ValueError(f"examples must be at most {least} (a shard), got {config.examples}")
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(part)[: config.examples or least] for part in parts])
    classes = int(train.y.max()) + 1
    model: Any = jc.models.MLP(classes, (config.hidden,))
    if config.network == "cnn":
        model = jc.models.CNN(classes, hidden=(), padding="VALID")
    return Task(Dataset(jnp.asarray(train.x[rows]), jnp.asarray(train.y[rows])), test, model)


def train(
    context: Context,
    config: Config,
    task: Task,
    names: tuple[str, str],
    field: str,
    values: tuple[float, ...],
    build: Callable[[Any, Any], jc.Algorithm],
    clients: int,
    batches: Any = None,
) -> Rows:
    """Trains for each value and seed, and measures the server's model over ALL clients.

    ``names`` are the names of the method and of its baseline at beta = 0; ``field`` is "beta", "mu"
    or "". The ``clients`` of ``build(loss, value)`` receive ``batches``, by default all shards.
    """
    loss = jc.objectives.classification(task.model.apply)
    whole = jc.metrics.accuracy(task.model.apply, *task.test)
    chosen = np.random.default_rng(0).permutation(len(task.test.y))[: config.eval_examples]
    test = Dataset(jnp.asarray(task.test.x[chosen]), jnp.asarray(task.test.y[chosen]))
    spread = jc.metrics.gradient_variance(loss, task.shards)

    def evaluate(state: jc.State) -> dict[str, Any]:
        model = jax.tree.map(lambda leaf: leaf[0], jc.params_of(state))
        value, metrics = loss(model, test, jax.random.key(0))
        more = spread(state)
        more["train_loss"] = more.pop("mean_loss")
        return {"test_loss": value, "test_accuracy": metrics["accuracy"]} | more

    def measure(state: jc.State) -> dict[str, Any]:
        return whole(jax.tree.map(lambda leaf: leaf[:1], jc.params_of(state)))

    done = train_replicas(
        context,
        lambda setting: build(loss, setting and setting[field]),
        replicated(task.model, clients, task.test.x[:1]),
        jc.data.full_batch(task.shards) if batches is None else batches,
        data_axes=None,
        settings={field: values} if field else None,
        evaluate=evaluate,
        tolerant=True,
        tags={"method": names[0]},
    )
    for k, value in enumerate(values):
        name = names[field == "beta" and value == 0]
        context.kept[name, value] = done.curves(k)
        last = done.last(k) | {"test_accuracy": done.measure(measure, k)["mean_accuracy"]}
        for s, seed in enumerate(done.seeds):
            row = {"method": name} | ({field: value} if field else {}) | {"seed": int(seed)}
            row |= {measure: float(last[measure][s]) for measure in MEASURES}
            broken = is_broken(row["train_loss"], int(task.test.y.max()) + 1)
            yield row | {"broken": broken}


def is_broken(train_loss: float, classes: int) -> bool:
    """Returns whether the last loss is not finite, or above half of the loss of guessing."""
    return not train_loss < np.log(classes) / 2


def accuracy(rows: list[Row]) -> float:
    """Returns the mean over seeds."""
    return columns(rows, "test_accuracy").mean()


def gain(left: list[Row], right: list[Row]) -> tuple[float, float, str]:
    """Returns mean and standard error of a paired gain in accuracy, and both as a string."""
    difference = np.subtract(*(columns(rows, "test_accuracy")[0] for rows in (left, right)))
    mean, error = float(difference.mean()), np.inf
    if len(difference) > 1:
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return mean, error, f"{mean:+.4f} (standard error {error:.4f})"


def more_accurate(name: str, own: list[Row], other: str, rows: list[Row]) -> Claim:
    """Claims that one method is more accurate than another."""
    mean, _, measured = gain(own, rows)
    claim = f"{name} is more accurate than {other} (paired)"
    return Claim(claim, "> 0", measured, mean > 0)


def alignment_claims(
    name: str, aligned: dict[float, list[Row]], other: str, plain: list[Row]
) -> Claims:
    """Alignment lowers the variance and raises the accuracy, by beta."""
    lines = [own for own in (plain, *aligned.values()) if not any(row["broken"] for row in own)]
    if len(lines) > 1:
        pairs = itertools.pairwise(columns(own, "gradient_variance").mean() for own in lines)
        claim = "the variance of gradients falls with beta, where training succeeds (largest ratio)"
        yield below(claim, max(b / a for a, b in pairs), 1)
    for beta, own in aligned.items():
        yield more_accurate(f"{name} with beta = {beta:g}", own, other, plain)


def styles(keys: Iterable[tuple[str, float]]) -> dict[tuple[str, float], dict[str, Any]]:
    """Returns styles of lines; aligned methods have shades by beta."""
    aligned = [key for key in keys if key[0] not in OTHERS]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(aligned)))
    by_line = {}
    for method, value in keys:
        other = method in OTHERS  # dashed, since they coincide with other lines
        color, dashes = OTHERS[method] if other else (shades[aligned.index((method, value))], "-")
        symbol = r"\mu" if method == "FedProx" else r"\beta"
        label = rf"{method}, ${symbol}$ = {value:g}" if value else method
        style = {"color": color, "ls": dashes, "lw": 1.8, "zorder": 2 + other, "label": label}
        by_line[method, value] = style
    return by_line


def figures(name: str, config: Config, rows: list[Row], context: Context) -> None:
    """Draws error, loss and variance against rounds; of FedProx, the best penalty."""
    fig, three = plots.subplots(1, 3, figsize=(15.5, 4.6))
    panels = dict(zip(("test_accuracy", *MEASURES[2:]), three, strict=True))
    penalties = groups((row for row in rows if row["method"] == "FedProx"), "mu")
    best = max(penalties, key=lambda mu: accuracy(penalties[mu]), default=(None,))
    for (method, value), style in styles(context.kept).items():
        if method == "FedProx" and (value,) != best:
            continue
        curve = context.kept[method, value]
        for measure, ax in panels.items():
            mean = curve[measure].mean(0)
            ax.plot(curve["round"], 1 - mean if measure == "test_accuracy" else mean, **style)
    titles = "test error", "training loss of all clients", "variance of the clients' gradients"
    for ax, title in zip(panels.values(), titles, strict=True):
        ax.set(title=title, xlabel="communication rounds", yscale="log")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    context.save(fig, name)
