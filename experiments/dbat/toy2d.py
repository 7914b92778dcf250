"""Slabs in the plane: the first member uses x alone, the second one must use the slabs.

D-BAT, arXiv 2202.04414, Figure 1.

    python -m experiments dbat toy2d

Slabs in the plane, unlabeled points by search: decision boundaries.
Cost: 1 minute on 2 cores, no download.
Expected: x flipped: first member 0 %, second 99 % (recorded 99.3 and 98.5).
"""

from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_least, at_most
from experiments.dbat._training import train
from experiments.fields import Count, Settings
from jcollab import plots
from jcollab.algorithms import ensembles

SIDE = 3.0  # the plane is drawn in [-3, 3]^2


class Config(Settings):
    """Unlabeled points come from a search around labeled ones."""

    points: Count = 50_000  # labeled points
    hidden: Count = 128  # width of the network
    rounds: tuple[Count, Count] = (6250, 3125)  # of the first member, and of the second one
    batch_size: Count = 64  # examples of a round
    learning_rate: float = 0.01  # of Adam
    alpha: float = 0.01  # weight of the agreement
    epsilon: float = 1e-5  # in its logarithm
    steps: Count = 15  # of the search
    step_size: float = 0.1  # of the search
    radius: float = 1.0  # largest move along each coordinate
    grid: Count = 121  # points along each side of the plane that is drawn
    num_seeds: Count = 3
    seed: int = 0


PRESETS = {"toy2d": Config()}
SMOKE = {"toy2d": {"points": 200, "rounds": (3, 3), "grid": 11, "num_seeds": 1, "hidden": 4}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each method and seed."""
    data = jc.data.synthetic.slabs(config.points, np.random.default_rng(config.seed))
    mlp = jc.models.MLP(1, (config.hidden,), lambda x: nn.leaky_relu(x, 0.01))
    model = SimpleNamespace(init=lambda key, x: torch_like(mlp.init(key, x), key), apply=mlp.apply)
    own = {"num_steps": config.steps, "step_size": config.step_size, "radius": config.radius}
    options: Any = {"search": jc.objectives.disagreement_points(**own), "epsilon": config.epsilon}
    options["optimizers"] = [optax.adam(config.learning_rate)] * 2
    conditions = [(config.alpha, "searched"), (0.0, "searched")]
    _, later = train(context, config, model, data, {"searched": data.x}, conditions, **options)
    if later is None:
        return
    logits_of = ensembles.member_logits(model.apply, batch_size=10_000)
    axis = np.linspace(-SIDE, SIDE, config.grid)
    plane = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype(np.float32)
    tests = {"accuracy": data.x, "flipped_accuracy": data.x * np.float32([-1, 1])}
    for k, method in enumerate(("D-BAT", "deep ensemble")):
        agreement = later.log(k)["agreement"][:, -100:].mean(1)
        for i, state in enumerate(later.each(k)):
            row: Row = {"method": method, "seed": config.seed + i}
            for name, x in tests.items():
                for m, value in enumerate(ensembles.accuracies(logits_of(state, x), data.y)[0]):
                    row[f"{name}_{m + 1}"] = 100 * float(value)
            grid = logits_of(state, plane)
            spread = ensembles.entropy(ensembles.ensemble_probabilities(grid))
            row["disagree_on_plane"] = 1 - float(ensembles.agreement_rate(grid)[0, 1])
            row["entropy_on_plane"] = float(spread.mean())
            row["agreement"] = agreement[i]
            yield row
            context.kept.setdefault("plane", [*ensembles.probabilities(grid)[..., 1], spread])
    context.kept["points"] = data


def torch_like(params: Any, key: jax.Array) -> Any:
    """Draws weights and biases uniformly in +-1/sqrt(fan in), as PyTorch does."""
    leaves, form = jax.tree.flatten_with_path(params)
    drawn = []
    for i, (path, leaf) in enumerate(leaves):
        fan_in = params["params"][path[1].key]["kernel"].shape[0]
        own = jax.random.fold_in(key, i)
        drawn.append(jax.random.uniform(own, leaf.shape, leaf.dtype, -1, 1) / jnp.sqrt(fan_in))
    return jax.tree.unflatten(form, drawn)


def claims(config: Config, rows: list[Row]) -> Claims:
    """The first member uses x only, and the second one does not need it, for every seed."""

    def values(name: str, method: str = "D-BAT") -> list[float]:
        return [row[name] for row in rows if row["method"] == method]

    fit = min(values("accuracy_1") + values("accuracy_2"))
    first, second = max(values("flipped_accuracy_1")), min(values("flipped_accuracy_2"))
    alone, gap = (
        max(values("flipped_accuracy_2", "deep ensemble")),
        min(values("disagree_on_plane")),
    )
    yield at_least("both members fit the data (every seed)", fit, 99.5, note="%")
    yield at_most("first member after x changes its sign", first, 2, note="recorded 0 %")
    yield at_least("second member after x changes its sign", second, 97, note="recorded 99.3, 98.5")
    yield at_most("second member of a deep ensemble, likewise", alone, 2, note="%")
    yield at_least("members disagree on a part of the plane", gap, 0.25, note="recorded 0.33")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Probabilities of both members, and the entropy of their mean, for D-BAT and one seed."""
    fig, panels = plots.subplots(1, 3, figsize=(13, 4.4))
    data, axis = context.kept["points"], np.linspace(-SIDE, SIDE, config.grid)
    titles = ("first member: P(label 1)", "second member: P(label 1)", "entropy of the mean")
    colors = np.array(plots.COLORS)[data.y[:600].astype(int)]
    for i, (ax, title) in enumerate(zip(panels, titles, strict=True)):
        values = np.asarray(context.kept["plane"][i]).reshape(config.grid, config.grid)
        cmap, most = ("RdBu_r", 1) if i < 2 else ("viridis", np.log(2))
        image = ax.imshow(values, cmap, origin="lower", extent=(-SIDE, SIDE) * 2, vmin=0, vmax=most)
        fig.colorbar(image, ax=ax, shrink=0.8)
        ax.scatter(*data.x[:600].T, s=5, color=colors, edgecolor="black", linewidth=0.4)
        if i < 2:
            ax.contour(axis, axis, values, levels=[0.5], colors="black")
        ax.set(title=title, xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
        ax.grid(visible=False)
    context.save(fig, "boundaries")
