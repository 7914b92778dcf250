"""A table of four cells: the first member is h = c, and the second one learns h = s.

D-BAT, arXiv 2202.04414, Theorem 3.1.

    python -m experiments dbat theorem

Theorem 3.1: a table of four cells, two of them labeled.
Cost: seconds, no download.
Expected: P(label 1) in 00, 01, 10, 11: .0002, .9998, .0002, .9998.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, at_most
from experiments.dbat._training import cross_entropy
from experiments.fields import Count, Settings
from jcollab import plots

CELLS = ("00", "01", "10", "11")


class Config(Settings):
    """Two cells are labeled; the second member must use the other feature."""

    alpha: float = 1.0  # weight of the agreement
    rounds: Count = 2000  # of Adam
    learning_rate: float = 0.1  # of Adam
    num_seeds: Count = 3  # initial tables
    seed: int = 0


PRESETS = {"theorem": Config()}
SMOKE = {"theorem": {"rounds": 3, "num_seeds": 1}}


def predict(table: jax.Array, x: jax.Array) -> jax.Array:
    """Looks up the logit of each point: ``table [2, 2]``, points (c, s) ``[b, 2]``."""
    c, s = x.astype(int).T
    return table[c, s][:, None]


def solve(config: Config, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trains from logits ``[2, 2]``; returns P(label 1) in all cells, and losses of all rounds."""
    cells, key = jc.data.synthetic.theorem_cells(), jax.random.key(config.seed)
    own = {"alpha": config.alpha, "member_rounds": config.rounds}
    algorithm = jc.dbat(cross_entropy(predict), predict, optax.adam(config.learning_rate), **own)
    first = [[-40, -40], [40, 40]]  # h(c, s) = c with certainty in float32
    state = algorithm.init(jnp.asarray(np.stack([first, start]), jnp.float32))
    state = state._replace(step=jnp.int32(config.rounds))
    batch = {"x": cells.x, "y": cells.y, "unlabeled": cells.unlabeled}
    data = jc.replicate(jax.tree.map(jnp.asarray, batch), 2)
    state, log = jc.run(algorithm, state, jc.data.full_batch(data), key, num_rounds=config.rounds)
    logits = predict(state.clients.params[1], jnp.asarray(cells.all))
    return np.asarray(jax.nn.sigmoid(logits[:, 0])), np.asarray(log["loss"])


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each initial table: zeros, then normal tables."""
    for i in context.cases(range(config.num_seeds)):
        normal = np.random.default_rng(config.seed + i).normal(size=(2, 2))
        p, context.kept[i] = solve(config, normal if i else np.zeros((2, 2)))
        row: Row = {"seed": config.seed + i, "start": "zeros" if i == 0 else "normal"}
        row |= {"distance_to_s": np.abs(p - [0, 1, 0, 1]).max(), "loss": context.kept[i][-1]}
        yield row | dict(zip(CELLS, p, strict=True))


def claims(config: Config, rows: list[Row]) -> Claims:
    """The minimizer is h(c, s) = s."""
    sentence = "the second member learns s in every cell, from every start: largest distance"
    worst = max(row["distance_to_s"] for row in rows)
    yield at_most(sentence, worst, 0.001, note="recorded 0.00018")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """The table learned from zeros, and the loss of each round."""
    fig, (left, right) = plots.subplots(1, 2, figsize=(10, 3.8))
    table = np.array([rows[0][cell] for cell in CELLS]).reshape(2, 2)
    left.imshow(table, cmap="RdBu_r", vmin=0, vmax=1)
    for (c, s), value in np.ndenumerate(table):
        kind = "labeled" if c == s else "unlabeled"
        left.text(s, c, f"{value:.4f}\n{kind}", ha="center", va="center", color="white")
    left.set(title="second member: P(1)", xlabel="s", ylabel="c", xticks=[0, 1], yticks=[0, 1])
    left.grid(visible=False)
    curves = np.stack(list(context.kept.values()))
    plots.band(right, np.arange(config.rounds), curves, color=plots.COLORS[0], label="loss")
    right.set(title="loss of the second member", xlabel="rounds", yscale="log")
    context.save(fig, "theorem")
