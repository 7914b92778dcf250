"""Theorem 3.1 in a table: against a first member that knows c, the second one learns s."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.dbat.kinds import Theorem
from jcollab import plots

CERTAIN = 40.0  # logit of a member that is as sure as float32 can tell


def predict(table: jax.Array, x: jax.Array) -> jax.Array:
    """The logit of each point's cell: ``table [2, 2]``, points (c, s) ``[b, 2]``."""
    c, s = x.astype(int).T
    return table[c, s][:, None]


def loss(table: jax.Array, batch: Any, key: jax.Array) -> jax.Array:
    """Cross-entropy over the labelled cells."""
    return optax.sigmoid_binary_cross_entropy(predict(table, batch["x"])[:, 0], batch["y"]).mean()


def solve(config: Theorem, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of label 1 in the cells 00, 01, 10, 11, and the loss of every round.

    Args:
        config: of the experiment.
        start: logits of the second member's table, ``[2, 2]``.
    """
    cells = jc.data.theorem_cells()
    algorithm = jc.dbat(
        loss,
        predict,
        optax.adam(config.learning_rate),
        alpha=config.alpha,
        member_rounds=config.rounds,
    )
    first = CERTAIN * np.array([[-1.0, -1.0], [1.0, 1.0]])  # h(c, s) = c
    tables = jnp.asarray(np.stack([first, start]), jnp.float32)
    key = jax.random.key(config.seed)
    state = algorithm.init(key, tables)._replace(step=jnp.int32(config.rounds))
    batch = {"x": cells.x, "y": cells.y, "unlabelled": cells.unlabelled}
    data = jc.replicate(jax.tree.map(jnp.asarray, batch), 2)
    state, log = jc.run(algorithm, state, data, key, num_rounds=config.rounds, sample=jc.data.whole)
    logits = predict(state.clients.params[1], jnp.asarray(cells.all))
    return np.asarray(jax.nn.sigmoid(logits[:, 0])), np.asarray(log["loss"])


def run(config: Theorem, context: Context) -> list[Row]:
    """One row for each initial table: zeros, and then normal ones."""
    rows: list[Row] = []
    curves = []
    task = context.progress.add_task("tables", total=config.num_seeds)
    for i in range(config.num_seeds):
        if context.stop.is_set():
            return rows
        rng = np.random.default_rng(config.seed + i)
        start = np.zeros((2, 2)) if i == 0 else rng.normal(size=(2, 2))
        p, curve = solve(config, start)
        row = {"seed": config.seed + i, "start": "zeros" if i == 0 else "normal"}
        row |= {name: float(v) for name, v in zip(("00", "01", "10", "11"), p, strict=True)}
        row |= {"distance_to_s": float(np.abs(p - [0, 1, 0, 1]).max()), "loss": float(curve[-1])}
        context.log().write(row)
        rows.append(row)
        curves.append(curve)
        context.progress.advance(task)
    context.save(_figure(rows, np.stack(curves)), "theorem")
    return rows


def claims(config: Theorem, rows: list[Row]) -> list[Claim]:
    """The minimiser is h(c, s) = s."""
    worst = max(row["distance_to_s"] for row in rows)
    return [
        Claim(
            "the second member learns s in every cell, from every start: largest distance",
            "<= 0.001 (recorded 0.00018)", worst, worst <= 1e-3,
        )
    ]  # fmt: skip


@plots.style()
def _figure(rows: list[Row], curves: np.ndarray) -> Any:
    fig = plots.figure(figsize=(10, 3.8))
    left, right = fig.subplots(1, 2)
    table = np.array([[rows[0]["00"], rows[0]["01"]], [rows[0]["10"], rows[0]["11"]]])
    left.imshow(table, cmap="RdBu_r", vmin=0, vmax=1)
    for (c, s), value in np.ndenumerate(table):
        kind = "labelled" if c == s else "unlabelled"
        left.text(s, c, f"{value:.4f}\n{kind}", ha="center", va="center", color="white")
    left.set(title="second member: P(label 1)", xlabel="s", ylabel="c")
    left.set_xticks([0, 1])
    left.set_yticks([0, 1])
    left.grid(visible=False)
    plots.band(right, np.arange(curves.shape[1]), curves, color=plots.COLORS[0], label="loss")
    right.set(title="loss of the second member", xlabel="rounds", yscale="log")
    return fig
