"""Uncertainty of ensembles out of distribution: lines through two digits, and other digits.

D-BAT, arXiv 2202.04414, uncertainty out of distribution.

    python -m experiments dbat uncertainty

MNIST 0/1: entropy along lines, AUROC of other digits; MC dropout, deep ensemble.
Cost: 5 minutes on 2 cores, MNIST in JCOLLAB_DATA.
Expected: D-BAT alone is unsure outside of t in [0, 1] (.23; ln 2 asked), accuracy 99 %.
"""

from typing import Annotated, Any, Literal

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, above, at_least, at_most, below
from experiments.dbat._training import LeNet, cross_entropy, train
from experiments.fields import EMPTY, Count, Fraction, Settings
from experiments.tasks import select
from jcollab import plots
from jcollab.algorithms import ensembles

CHANCE = float(np.log(2))
METHODS = ("D-BAT", "deep ensemble", "single", "MC dropout")
# columns of the entropy, and the places on the line
PLACES = {"-1": -1, "0": 0, "half": 0.5, "1": 1, "2": 2}


class Config(Settings):
    """Training on images of 0 and 1; lines pass through pairs of them."""

    dataset: Literal["mnist", "digits"] = "mnist"  # digits are those of scikit-learn
    alpha: float = 10.0  # weight of the agreement
    rounds: Count = 400  # of each member
    batch_size: Count = 128  # labeled, and unlabeled, examples of a round
    learning_rate: float = 5e-4  # of AdamW
    weight_decay: float = 1e-6  # of AdamW
    hidden: Annotated[tuple[int, ...], EMPTY] = (120, 84)  # widths of the dense layers of LeNet
    dropout: Fraction = 0.2  # of Monte Carlo dropout
    draws: Count = 20  # of Monte Carlo dropout
    pairs: Count = 100  # of a 0 and a 1, each of which defines a line
    steps: Count = 61  # points of each line, from t = -1 to 2
    num_seeds: Count = 3
    seed: int = 0


PRESETS = {"uncertainty": Config()}
SMALL = {"rounds": 2, "batch_size": 4, "draws": 2, "pairs": 2, "steps": 5, "num_seeds": 1}
SMOKE = {"uncertainty": SMALL | {"dataset": "digits", "hidden": (4,)}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each method and seed."""
    known, test, pool, foreign, lines, t = make(config)
    model = LeNet(1, hidden=config.hidden)
    dropping = LeNet(1, hidden=config.hidden, dropout=config.dropout)

    def dropped(params: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        return dropping.apply(params, x, train=True, rngs={"dropout": key})

    def loss(params: Any, batch: Any, key: jax.Array) -> Any:
        return cross_entropy(lambda params, x: dropped(params, x, key))(params, batch, key)

    @jax.jit
    def draws(models: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        params = jax.tree.map(lambda leaf: leaf[0], models)
        return ensembles.dropout_logits(dropped, params, x, key, config.draws)

    adam = [optax.adamw(config.learning_rate, weight_decay=config.weight_decay)] * 2
    data = known, {"others": pool}
    conditions = [(config.alpha, "others"), (0.0, "others")]
    first, later = train(context, config, model, *data, conditions, optimizers=adam)
    if later is None:
        return
    last, _ = train(context, config, dropping, *data, [], members=1, loss=loss, optimizers=adam)
    if not last.finished:
        return
    members = ensembles.member_logits(model.apply)
    trained = (later.each(0), later.each(1), first.each(), last.each())
    for name, states in zip(METHODS, trained, strict=True):
        for seed, state in enumerate(states, config.seed):
            models = jc.params_of(state)
            if name == "single":
                models = jax.tree.map(lambda leaf: leaf[:1], models)
            inside, outside, between = (
                draws(models, x, jax.random.key(seed)) if name == METHODS[3] else members(models, x)
                for x in (test.x, foreign, lines)
            )
            spread = np.asarray(ensembles.ood_score(between).reshape(-1, config.steps).mean(0))
            row: Row = {"method": name, "seed": seed}
            row["accuracy"] = 100 * float(ensembles.accuracies(inside, test.y)[1])
            for place, where in PLACES.items():
                row[f"entropy_at_{place}"] = spread[np.abs(t - where).argmin()]
            for score in ("entropy", "disagreement"):
                scores = (ensembles.ood_score(logits, score) for logits in (inside, outside))
                row[f"auroc_{score}"] = ensembles.ood_auroc(*scores)
            yield row
            context.kept.setdefault(name, []).append(spread)


def make(config: Config) -> tuple[Any, ...]:
    """Loads digits 0 and 1, a pool of other digits, others to test, lines, and their places."""
    known, seen = (jc.data.load(config.dataset, part) for part in ("train", "test"))
    if config.dataset == "digits":  # 8 x 8 pixels are enlarged to 24 x 24
        known, seen = (part._replace(x=part.x.repeat(3, 1).repeat(3, 2)) for part in (known, seen))
    rng = np.random.default_rng(42)  # the same pool and lines for all seeds
    train, test = (select(part, part.y < 2) for part in (known, seen))
    t = np.linspace(-1, 2, config.steps).astype(np.float32)
    drawn = [rng.choice(np.flatnonzero(test.y == digit), config.pairs) for digit in (0, 1)]
    zeros, ones = (test.x[own][:, None] for own in drawn)
    share = t[None, :, None, None, None]
    lines = (share * ones + (1 - share) * zeros).reshape(-1, *test.x.shape[1:])
    pool = shifted(select(known, known.y >= 2).x[: 4 * len(train.y)], rng)
    return train, test, pool, select(seen, seen.y >= 2).x, lines, t


def shifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pads each image with black (3/7 of its size) and crops it at a random place."""
    size = x.shape[1]
    margin = 3 * size // 7
    framed = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    rows, columns = rng.integers(0, 2 * margin + 1, (2, len(x)))
    windows = np.lib.stride_tricks.sliding_window_view(framed, (size, size), axis=(1, 2))
    return windows[np.arange(len(x)), rows, columns].transpose(0, 2, 3, 1)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Far from the data, D-BAT is maximally uncertain, and a deep ensemble is not."""

    def mean(method: str, *columns: str) -> float:
        return float(np.mean([r[c] for r in rows if r["method"] == method for c in columns]))

    own, plain, *_ = METHODS
    far = {name: mean(name, "entropy_at_-1", "entropy_at_2") for name in METHODS}
    rest = max(far[name] for name in METHODS[1:])
    at = mean(own, "entropy_at_0", "entropy_at_1")
    area = {name: mean(name, "auroc_entropy") for name in (own, plain)}
    target = f"80 % of ln 2 = {CHANCE:.3f}"
    sentence = "digits 2 to 9 against 0 and 1 by entropy, D-BAT ahead of a deep ensemble (AUROC)"
    yield at_least("D-BAT's entropy at t = -1 and 2, mean", far[own], 0.8 * CHANCE, note=target)
    yield at_most("that of a deep ensemble", far[plain], far[own] / 2, note="half of D-BAT's")
    yield below("and of every other method", rest, far[own], note="D-BAT's")
    yield at_most("D-BAT is sure of digits themselves (t = 0, 1)", at, 0.2)
    yield at_least(f"accuracy of {own}", mean(own, "accuracy"), 99, note="paper 99 %")
    yield at_least(f"accuracy of {plain}", mean(plain, "accuracy"), 99, note="paper 99 %")
    yield above(sentence, area[own], area[plain], note="that of a deep ensemble")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Entropy along the lines."""
    fig, ax = plots.subplots(figsize=(7.5, 4.4))
    t = np.linspace(-1, 2, config.steps)
    for color, name in zip(plots.COLORS, METHODS, strict=False):
        plots.band(ax, t, np.stack(context.kept[name]), color=color, label=name)
    ax.axhline(CHANCE, color="gray", lw=1, ls=":")
    ax.axvspan(0, 1, color="gray", alpha=0.1)
    ax.set(title="entropy between and beyond a 0 and a 1", ylim=(0, 0.75))
    ax.set(xlabel=r"$t$ in $t\,x_1 + (1-t)\,x_0$", ylabel="entropy (nats)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    context.save(fig, "entropy")
