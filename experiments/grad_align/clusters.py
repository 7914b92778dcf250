"""One class per client: the effect of the coefficient of the variance on training and accuracy.

Implicit gradient alignment, arXiv 2106.13897, on Gaussian classes.

    python -m experiments grad_align clusters

Ten Gaussian classes, one per client: GradAlign, FedGA and SCAFFOLD by coefficient.
Cost: 1 minute on 2 cores.
Expected: variance falls and accuracy rises with c; FedGA at c = 0 is SCAFFOLD; 1 breaks.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments import contract
from experiments.contract import Claim, Claims, Context, Row, Rows, above, averaged, below, columns
from experiments.fields import BelowOne, Count, Plural, Positive, Settings
from experiments.grad_align import _training as training
from experiments.training import replicated, train_replicas
from jcollab import plots

Dataset = jc.data.Dataset


class Config(Settings):
    """Clients with one Gaussian class each, and some wrong labels."""

    # of GradAlign; 0 is gradient descent
    betas: training.Displacements = (0.0, 0.05, 0.2, 0.5, 1.0)
    local_betas: training.Displacements = (0.0, 0.025, 0.1, 0.225, 0.5)  # of FedGA; 0 is FedAvg
    gamma: Positive = 0.1  # learning rate of GradAlign
    local_gamma: Positive = 0.05  # of the local steps of FedGA and SCAFFOLD
    local_steps: Count = 10  # K of FedGA and SCAFFOLD
    rounds: Count = 600  # of GradAlign
    local_rounds: Count = 120  # of FedGA and SCAFFOLD
    num_seeds: Count = 10  # data sets and initial models
    seed: int = 0  # of the first
    classes: Plural = 10  # and clients
    dimension: Count = 20  # of the inputs
    examples: Count = 40  # of each client
    test_examples: Count = 2000  # without wrong labels
    separation: Positive = 1.0  # standard deviation of the classes' means; within a class it is 1
    noise: BelowOne = 0.1  # fraction of training labels that are redrawn from all classes
    hidden: Count = 64  # width of the tanh network


PRESETS = {"clusters": Config()}
SMALL = {"betas": (0.0, 0.2), "local_betas": (0.0, 0.225), "rounds": 4, "local_rounds": 3}
SMOKE = {"clusters": SMALL | {"num_seeds": 2, "local_steps": 2, "hidden": 4, "test_examples": 50}}
# means over seeds, and the number of broken runs
shown = averaged("method K gamma beta c")


def make_data(config: Config, seed: int) -> tuple[Dataset, Dataset]:
    """Draws training data of all clients, ``x [n, m, d]``, and clean test data ``[N, d]``.

    Class means are normal with standard deviation ``separation``, inputs around them with 1.
    Client i has class i; a fraction ``noise`` of its labels is redrawn from all classes.
    """
    rng = np.random.default_rng(seed)
    n, m, d = config.classes, config.examples, config.dimension
    centers = config.separation * rng.normal(size=(n, d))
    x = centers[:, None] + rng.normal(size=(n, m, d))
    own = np.repeat(np.arange(n)[:, None], m, axis=1)
    wrong = rng.random((n, m)) < config.noise
    y = np.where(wrong, rng.integers(0, n, (n, m)), own)
    test_y = rng.integers(0, n, config.test_examples)
    test_x = centers[test_y] + rng.normal(size=(config.test_examples, d))
    parts = Dataset(x, y), Dataset(test_x, test_y)
    return tuple(Dataset(x.astype(np.float32), y.astype(np.int32)) for x, y in parts)


def run(config: Config, context: Context) -> Rows:
    """Trains all displacements and seeds of a method in one program; a row for each."""
    seeds = config.seeds
    sets = zip(*(make_data(config, seed) for seed in seeds), strict=True)
    train, test = (jax.tree.map(lambda *leaves: np.stack(leaves), *parts) for parts in sets)
    model = jc.models.MLP(config.classes, (config.hidden,), jnp.tanh)
    loss = jc.objectives.classification(model.apply)

    @jax.jit
    @jc.layout.per_replica
    def accuracy(params: Any, test: Dataset) -> Any:
        return jnp.mean(jnp.argmax(model.apply(params, test.x), -1) == test.y)

    local = config.local_gamma, config.local_steps, config.local_rounds
    cases = (
        ("GradAlign", "GD", config.betas, config.gamma, 1, config.rounds),
        ("FedGA", "FedAvg", config.local_betas, *local),
        ("SCAFFOLD", "SCAFFOLD", (None,), *local),
    )
    for method, plain, betas, gamma, steps, rounds in context.cases(cases):

        def build(own: Any, method: str = method, rate: float = gamma) -> jc.Algorithm:
            beta, sgd = own and own["beta"], optax.sgd(rate)
            if method == "GradAlign":
                algorithm = jc.algorithms.grad_align(loss, sgd, beta)
            else:
                algorithm = training.local_method(method, loss, beta, config.local_steps, sgd)

            def update(state: jc.State, batch: Any, key: Any) -> Any:
                variance = jc.metrics.gradient_variance(loss, batch, prefix="server_")
                batch = batch if algorithm.cohort is None else jc.data.full_batch(batch)
                return jc.with_metrics(algorithm, variance).update(state, batch, key)

            return jc.Algorithm(algorithm.init, update)

        done = train_replicas(
            context,
            build,
            replicated(model, config.classes, jnp.zeros((1, config.dimension))),
            jc.data.full_batch(train),
            rounds=rounds,
            settings=None if betas == (None,) else {"beta": betas},
            data_axes=0,
            tolerant=True,
            tags={"method": method},
        )
        if not done.finished:
            return
        for k, beta in enumerate(betas):
            name, log = method if beta else plain, done.log(k)
            variance, train_loss = log["server_gradient_variance"], log["server_mean_loss"]
            context.kept[name, beta or 0.0] = variance
            correct = accuracy(done.state(k).shared.params, test)
            drift = None if beta is None else round(beta - gamma * (steps - 1) / 2, 12)
            for s, seed in enumerate(seeds):
                yield {
                    "method": name,
                    "K": steps,
                    "gamma": gamma,
                    "beta": beta,
                    "c": drift or 0.0,
                    "seed": int(seed),
                    "test_accuracy": float(correct[s]),
                    "train_loss": float(train_loss[s, -1]),
                    "mean_variance": float(variance[s].mean()),
                    "final_variance": float(variance[s, -1]),
                    "broken": training.is_broken(train_loss[s, -1], config.classes),
                }


def claims(config: Config, rows: list[Row]) -> Claims:
    """Predictions from the coefficient; differences are paired by seed."""
    cases = contract.groups(rows, "method beta")
    for names in (("GD", "GradAlign"), ("FedAvg", "FedGA")):
        line = [
            own
            for (name, _), own in sorted(cases.items(), key=lambda case: case[1][0]["c"])
            if name in names and not any(row["broken"] for row in own)
        ]
        if len(line) > 1:
            yield from _claims_of_a_line(f"{names[1]}, where training succeeds", line)
    for (name, beta), own in cases.items():
        if name == "FedGA" and own[0]["c"] == 0 and ("SCAFFOLD", None) in cases:
            mean, _, measured = training.gain(own, cases["SCAFFOLD", None])
            claim = "FedGA at c = 0 has SCAFFOLD's test accuracy (mean paired difference)"
            yield Claim(claim, "within 0.005", measured, abs(mean) <= 0.005)
        if name == "GradAlign" and beta >= 1:
            broken = sum(row["broken"] for row in own)
            claim = f"too large a displacement, beta = {beta:g}, breaks training (seeds)"
            yield Claim(claim, "all", f"{broken} of {len(own)}", broken == len(own))


def _claims_of_a_line(name: str, line: list[list[Row]]) -> Claims:
    """Yields claims on cases of rising c; ``line [cases][seeds]``."""
    finals = np.array([columns(own, "final_variance")[0] for own in line])
    ratio = (finals[1:].mean(1) / finals[:-1].mean(1)).max()
    rises = finals[1:] >= finals[:-1]
    step = min(training.gain(right, left)[0] for left, right in itertools.pairwise(line))
    mean, error, measured = training.gain(line[-1], line[0])
    falls = "the final variance falls at every step of c, in the mean of seeds"
    seeds = f"{rises.sum()} of {rises.size}"
    ends = f"test accuracy rises from c = {line[0][0]['c']:g} to {line[-1][0]['c']:g}"
    ends = f"{name}: {ends} (mean paired difference)"
    smallest = f"{name}: test accuracy rises at every step of c (smallest mean paired difference)"
    yield below(f"{name}: {falls} (largest ratio of neighbors)", ratio, 1)
    yield Claim(f"{name}: it does so in every seed (exceptions)", "0", seeds, not rises.any())
    yield above(smallest, step, 0)
    yield Claim(ends, "> 2 standard errors", measured, mean > 2 * error)


FAMILIES = (
    ("GD / GradAlign, K = 1", ("GD", "GradAlign"), plots.COLORS[0], "o-"),
    ("FedAvg / FedGA", ("FedAvg", "FedGA"), plots.COLORS[1], "o-"),
    ("SCAFFOLD", ("SCAFFOLD",), plots.COLORS[2], "D"),
)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws the variance over rounds, and final variance and accuracy against c."""
    fig, (first, second, third) = plots.subplots(1, 3, figsize=(14.5, 4.6))
    local = {key: v for key, v in context.kept.items() if key[0] not in ("GD", "GradAlign")}
    for key, style in training.styles(local).items():
        first.plot(1 + np.arange(config.local_rounds), local[key].mean(0), **style)
    first.set(yscale="log", xlabel="communication rounds")
    first.set_title("variance of gradients at the server's model")
    first.legend(fontsize=9)
    # data sets differ between seeds: only paired differences are comparable
    base = {row["seed"]: row["test_accuracy"] for row in rows if row["method"] == "GD"}
    rows = [row | {"gain": 100 * (row["test_accuracy"] - base[row["seed"]])} for row in rows]
    for ax, column in ((second, "final_variance"), (third, "gain")):
        for label, methods, color, form in FAMILIES:
            trained = [row for row in rows if row["method"] in methods and not row["broken"]]
            cases = contract.groups(sorted(trained, key=lambda row: row["c"]), "c")
            points = [columns(own, column)[0] for own in cases.values()]
            errors = [v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in points]
            style = {"fmt": form, "color": color, "label": label, "capsize": 3}
            bars = errors if column == "gain" else None
            if points:  # empty if all runs broke
                ax.errorbar([c for (c,) in cases], [v.mean() for v in points], bars, **style)
        ax.set_xlabel("coefficient c of the variance")
    second.set(yscale="log", title="variance of gradients at the end")
    third.axhline(0, color="gray", lw=1)
    third.set(title="test accuracy, minus gradient descent's", ylabel="points")
    if second.has_data():
        second.legend(fontsize=9)
    context.save(fig, "clusters")
