"""Training on images: one method, all of its settings and seeds in one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row, check
from experiments.grad_align._shared import by_case, is_broken, means
from experiments.training import train_replicas
from jcollab import plots

Dataset = jc.data.Dataset
Curves = dict[tuple[str, float], dict[str, np.ndarray]]
SMALL = {
    "dataset": "digits",
    "network": "mlp",
    "hidden": 4,
    "n": 4,
    "num_sampled": 2,
    "examples": 5,
    "rounds": 4,
    "num_seeds": 2,
    "evaluations": 2,
    "eval_examples": 50,
}
OTHERS = {
    "large-batch SGD": (plots.COLORS[6], (0, (1, 1.5))),
    "SCAFFOLD": (plots.COLORS[1], (0, (4, 2))),
    "FedProx": (plots.COLORS[3], (0, (6, 2, 1, 2))),
}
PANELS = {
    "test_accuracy": "test error",
    "mean_loss": "training loss of all clients",
    "gradient_variance": "variance of the clients' gradients",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What both trainings on images have."""

    dataset: str = "digits"  # embedded, or "mnist", "fashion_mnist" or another TFDS image set
    network: Literal["cnn", "mlp"] = "mlp"  # the paper's CNN needs images of 28 x 28
    hidden: int = 64  # width of the MLP
    n: int = 94  # shards of the data
    num_sampled: int = 20  # clients of a round, each with a shard
    examples: int | None = None  # of each client; None for all of its shard
    rounds: int = 801  # T
    weight_decay: float = 1e-3  # in local steps only
    num_seeds: int = 5  # initial models, and draws of clients
    seed: int = 0  # of the first
    evaluations: int = 20  # points of the curves
    eval_examples: int = 2000  # test examples for the curves; the final accuracy is that on all

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check(self, "hidden n rounds num_seeds evaluations eval_examples examples", at_least=1)
        check(self, "weight_decay", at_least=0)
        if not 1 <= self.num_sampled <= self.n:
            raise ValueError(f"num_sampled must be in 1..n = {self.n}, got {self.num_sampled}")
        if self.network == "cnn" and self.dataset == "digits":
            raise ValueError("network must be 'mlp' for digits, whose 8 x 8 pixels are too few")


class Task(NamedTuple):
    """Data and model."""

    shards: Dataset  # leaves ``[n, m, ...]``, all examples of every client
    test: Dataset  # for the results
    model: Any  # flax module


def make_task(config: Config, deal: Callable[[np.ndarray], list[np.ndarray]]) -> Task:
    """Loads the data, and deals out as many examples to every client as the smallest shard has.

    Args:
        config: data set and network.
        deal: ``deal(labels) -> parts``, the examples of every client.

    Raises:
        ValueError: if a shard has fewer examples than the configuration asks for.
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
    return Task(Dataset(np.asarray(train.x[rows]), train.y[rows]), test, model)


def train(
    context: Context,
    config: Config,
    task: Task,
    method: str,
    settings: dict[str, tuple[float, ...]] | None,
    build: Callable[[Any, Any], jc.Algorithm],
    *,
    plain: str,
    clients: int,
    sample: Any = jc.data.whole,
) -> tuple[list[Row], Curves]:
    """Trains with every setting and seed, and measures at the server's model over ALL clients.

    Args:
        context: of the experiment.
        config: rounds, seeds, evaluations.
        task: data and model.
        method: its name.
        settings: the values of "beta" or "mu"; None where the method has neither.
        build: ``build(loss, value) -> Algorithm``.
        plain: name of the method at beta = 0.
        clients: number of clients that the algorithm has.
        sample: what it gets of the shards in a round.

    Returns:
        A row for each value and seed; evaluations ``[S, E]`` by name and value.
    """
    loss = jc.objectives.classification(task.model.apply)
    ((field, values),) = (settings or {"": (0.0,)}).items()
    whole = jc.metrics.accuracy(task.model.apply, *task.test)

    def start(algorithm: jc.Algorithm, key: jax.Array) -> jc.State:
        params = task.model.init(key, task.test.x[:1])
        return algorithm.init(key, jc.replicate(params, clients))

    done = train_replicas(
        context,
        lambda setting: build(loss, setting and setting[field]),
        start,
        jax.tree.map(jnp.asarray, task.shards),
        rounds=config.rounds,
        seeds=config.seed + np.arange(config.num_seeds),
        settings=settings,
        sample=sample,
        data_axes=None,
        evaluate=_evaluation(config, task, loss),
        evaluations=config.evaluations,
        tolerant=True,
        description=method,
        tags={"method": method},
    )
    rows: list[Row] = []
    curves: Curves = {}
    for k, value in enumerate(values):
        name = plain if field == "beta" and value == 0 else method
        curves[name, value], last = done.curves(k), done.last(k)
        final = done.measure(lambda state: whole(_server(state)), k)["mean_accuracy"]
        for s, seed in enumerate(done.seeds):
            row = {"method": name} | ({field: value} if field else {}) | {"seed": int(seed)}
            row |= {
                "test_accuracy": float(final[s]),
                "test_loss": float(last["test_loss"][s]),
                "train_loss": float(last["mean_loss"][s]),
                "gradient_variance": float(last["gradient_variance"][s]),
                "broken": is_broken(last["mean_loss"][s], int(task.test.y.max()) + 1),
            }
            rows.append(row)
    return rows, curves


def _server(state: jc.State) -> Any:
    """The server's model, as the only one of a group ``[1, ...]``."""
    return jax.tree.map(lambda leaf: leaf[:1], jc.params_of(state))


def _evaluation(config: Config, task: Task, loss: Any) -> Callable[[jc.State], Any]:
    chosen = np.random.default_rng(0).permutation(len(task.test.y))[: config.eval_examples]
    test = Dataset(jnp.asarray(task.test.x[chosen]), jnp.asarray(task.test.y[chosen]))
    spread = jc.metrics.gradient_variance(loss, jax.tree.map(jnp.asarray, task.shards))

    def evaluate(state: jc.State) -> dict[str, Any]:
        model = jax.tree.map(lambda leaf: leaf[0], _server(state))
        value, metrics = loss(model, test, jax.random.key(0))
        return {"test_loss": value, "test_accuracy": metrics["accuracy"]} | spread(state)

    return evaluate


def draw(curves: Curves, rows: list[Row]) -> Any:
    """Three panels against rounds; aligned methods in shades, from none to the largest beta."""
    fig = plots.figure(figsize=(15.5, 4.6))
    panels = fig.subplots(1, 3)
    strengths = by_case((row for row in rows if row["method"] == "FedProx"), "mu")
    best = max(strengths, key=lambda mu: means(strengths[mu])["test_accuracy"], default=(None,))
    aligned = [key for key in curves if key[0] not in OTHERS]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(aligned)))
    for (name, value), curve in curves.items():
        if name == "FedProx" and (value,) != best:
            continue  # one line is enough
        above = 3  # dashes over what they coincide with
        if name in OTHERS:
            color, dashes = OTHERS[name]
        else:
            color, dashes, above = shades[aligned.index((name, value))], "-", 2
        symbol = r"\mu" if name == "FedProx" else r"\beta"
        label = rf"{name}, ${symbol}$ = {value:g}" if value else name
        for ax, (measure, title) in zip(panels, PANELS.items(), strict=True):
            mean = curve[measure].mean(0)
            mean = 1 - mean if measure == "test_accuracy" else mean
            style = {"color": color, "ls": dashes, "lw": 1.8, "zorder": above}
            ax.plot(curve["round"], mean, label=label, **style)
            ax.set(title=title, xlabel="communication rounds", yscale="log")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    return fig
