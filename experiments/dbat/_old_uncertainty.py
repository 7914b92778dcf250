"""How sure ensembles are of what they have not seen: lines through two digits, and other digits."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.dbat import training
from experiments.dbat.kinds import Uncertainty
from experiments.dbat.models import LeNet
from jcollab import ensembles, plots

POOL_SEED = 42
CHANCE = float(np.log(2))
METHODS = ("D-BAT", "deep ensemble", "single", "MC dropout")


class Data(NamedTuple):
    """Digits 0 and 1, and the others.

    Attributes:
        train: of 0 and 1.
        test: of 0 and 1.
        pool: shifted digits 2 to 9 of the training set.
        foreign: digits 2 to 9 of the test set.
        lines: ``[pairs, steps, height, width, 1]``, ``t x1 + (1 - t) x0``.
        t: ``[steps]``.
    """

    train: jc.data.Dataset
    test: jc.data.Dataset
    pool: np.ndarray
    foreign: np.ndarray
    lines: np.ndarray
    t: np.ndarray


def run(config: Uncertainty, context: Context) -> list[Row]:
    """One row for each method and seed."""
    data = make(config)
    seeds = [config.seed + i for i in range(config.num_seeds)]
    plain = LeNet(1, hidden=config.hidden)
    dropping = LeNet(1, hidden=config.hidden, dropout=config.dropout)
    conditions = [
        training.Condition(name, alpha, "other digits")
        for name, alpha in zip(METHODS[:2], (config.alpha, 0.0), strict=True)
    ]
    outcome = training.train(_plan(config, data, plain, 2), conditions, seeds, context)
    dropped = None
    if outcome.finished:
        dropped = training.train(_plan(config, data, dropping, 1), [], seeds, context)
    if dropped is None or not dropped.finished:
        return []

    params = {c.name: outcome.params[training.label_of(c)] for c in conditions}
    params["single"] = jax.tree.map(lambda leaf: leaf[:, :1], outcome.params["first"])
    params["MC dropout"] = dropped.params["first"]
    logits_of = ensembles.member_logits(plain.apply)
    draw = jax.jit(
        lambda params, x, key: ensembles.dropout_logits(
            lambda p, x, k: dropping.apply(p, x, train=True, rngs={"dropout": k}),
            jax.tree.map(lambda leaf: leaf[0], params), x, key, config.draws,
        )
    )  # fmt: skip
    points = data.lines.reshape(-1, *data.lines.shape[2:])
    rows: list[Row] = []
    curves: dict[str, list[np.ndarray]] = {}
    for name in METHODS:
        for i, seed in enumerate(seeds):
            models = jax.tree.map(lambda leaf: leaf[i], params[name])  # noqa: B023

            def said(
                x: np.ndarray, models: Any = models, name: str = name, seed: int = seed
            ) -> Any:
                if name == "MC dropout":
                    return draw(models, x, jax.random.key(seed))
                return logits_of(models, x)

            inside, outside = said(data.test.x), said(data.foreign)
            spread = ensembles.ood_score(said(points)).reshape(data.lines.shape[:2])
            curve = np.asarray(spread.mean(0))
            curves.setdefault(name, []).append(curve)
            row = {
                "method": name,
                "seed": seed,
                "accuracy": 100 * float(ensembles.accuracies(inside, data.test.y)[1]),
                "entropy_at_-1": float(curve[0]),
                "entropy_at_0": float(curve[np.abs(data.t).argmin()]),
                "entropy_at_half": float(curve[np.abs(data.t - 0.5).argmin()]),
                "entropy_at_1": float(curve[np.abs(data.t - 1).argmin()]),
                "entropy_at_2": float(curve[-1]),
            }
            row |= {
                f"auroc_{score}": ensembles.ood_auroc(
                    *(ensembles.ood_score(logits, score) for logits in (inside, outside))
                )
                for score in ("entropy", "disagreement")
            }
            context.log().write(row)
            rows.append(row)
    context.save(_figure(data.t, curves), "entropy")
    return rows


def make(config: Uncertainty) -> Data:
    """Loads the digits."""
    known, seen = (_images(config.dataset, part) for part in ("train", "test"))
    rng = np.random.default_rng(POOL_SEED)
    train, test = (_some(part, part.y < 2) for part in (known, seen))
    others = _some(known, known.y >= 2).x[: 4 * len(train.y)]
    t = np.linspace(-1, 2, config.steps).astype(np.float32)
    ends = [
        test.x[rng.choice(np.flatnonzero(test.y == digit), config.pairs)][:, None]
        for digit in (0, 1)
    ]
    share = t[None, :, None, None, None]
    lines = share * ends[1] + (1 - share) * ends[0]
    return Data(train, test, shifted(others, rng), _some(seen, seen.y >= 2).x, lines, t)


def shifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image in a wider black frame (3/7 of its size), of which a random part is cut out."""
    size = x.shape[1]
    margin = 3 * size // 7
    framed = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    rows, columns = rng.integers(0, 2 * margin + 1, (2, len(x)))
    windows = np.lib.stride_tricks.sliding_window_view(framed, (size, size), axis=(1, 2))
    return windows[np.arange(len(x)), rows, columns].transpose(0, 2, 3, 1)


def _plan(config: Uncertainty, data: Data, model: LeNet, members: int) -> training.Plan:
    optimizer = optax.adamw(config.learning_rate, weight_decay=config.weight_decay)

    def loss(params: Any, batch: training.Batch, key: jax.Array) -> Any:
        def predict(params: Any, x: jax.Array) -> jax.Array:
            return model.apply(params, x, train=True, rngs={"dropout": key})

        return training.cross_entropy(predict)(params, batch, key)

    return training.Plan(
        start=lambda key: model.init(key, data.train.x[:1]),
        predict=lambda params, x: model.apply(params, x),
        x=data.train.x,
        y=data.train.y,
        pools={"other digits": data.pool},
        members=members,
        rounds=(config.rounds, config.rounds),
        batch_size=config.batch_size,
        optimizers=(optimizer, optimizer),
        loss=loss,
    )


def claims(config: Uncertainty, rows: list[Row]) -> list[Claim]:
    """Far from the data, D-BAT is as unsure as can be, and a deep ensemble is not."""

    def mean(method: str, *columns: str) -> float:
        return float(np.mean([r[c] for r in rows if r["method"] == method for c in columns]))

    ends = ("entropy_at_-1", "entropy_at_2")
    far = {name: mean(name, *ends) for name in METHODS}
    at = mean("D-BAT", "entropy_at_0", "entropy_at_1")
    accuracy = {name: mean(name, "accuracy") for name in METHODS[:2]}
    area = {name: mean(name, "auroc_entropy") for name in METHODS}
    rest = max(far[name] for name in METHODS[1:])
    return [
        Claim(
            "D-BAT's entropy at t = -1 and 2, mean",
            f">= 80 % of ln 2 = {CHANCE:.3f}", far["D-BAT"], far["D-BAT"] >= 0.8 * CHANCE,
        ),
        Claim(
            "that of a deep ensemble", "<= half of D-BAT's",
            far["deep ensemble"], far["deep ensemble"] <= far["D-BAT"] / 2,
        ),
        Claim("and of every other method", "below D-BAT's", rest, rest < far["D-BAT"]),
        Claim("D-BAT is sure of digits themselves (t = 0, 1)", "<= 0.2", at, at <= 0.2),
        *(
            Claim(f"accuracy of {name}", ">= 99 % (paper 99)", value, value >= 99)
            for name, value in accuracy.items()
        ),
        Claim(
            "digits 2 to 9 against 0 and 1 by entropy, D-BAT ahead of a deep ensemble (AUROC)",
            f"> {area['deep ensemble']:.3f}", area["D-BAT"],
            area["D-BAT"] > area["deep ensemble"],
        ),
    ]  # fmt: skip


def _images(dataset: str, split: str) -> jc.data.Dataset:
    """A set of images; those of 8 x 8 pixels three times as large."""
    images = jc.data.load(dataset, split)
    if dataset == "digits":
        return images._replace(x=images.x.repeat(3, 1).repeat(3, 2))
    return images


def _some(data: jc.data.Dataset, keep: np.ndarray) -> jc.data.Dataset:
    return jc.data.Dataset(np.asarray(data.x[keep]), data.y[keep])


@plots.style()
def _figure(t: np.ndarray, curves: dict[str, list[np.ndarray]]) -> Any:
    fig = plots.figure(figsize=(7.5, 4.4))
    ax = fig.subplots()
    for color, (name, values) in zip(plots.COLORS, curves.items(), strict=False):
        plots.band(ax, t, np.stack(values), color=color, label=name)
    ax.axhline(CHANCE, color="gray", lw=1, ls=":")
    ax.axvspan(0, 1, color="gray", alpha=0.1)
    ax.set(
        title="entropy between and beyond a 0 and a 1",
        xlabel=r"$t$ in $t\,x_1 + (1-t)\,x_0$", ylabel="entropy (nats)", ylim=(0, 0.75),
    )  # fmt: skip
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
