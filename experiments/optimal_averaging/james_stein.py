"""Vectors: the rule of James and Stein never loses to learning alone.

Optimal model averaging, arXiv 2110.12946, the case of vectors, which the paper leaves open.

    python -m experiments optimal_averaging james_stein

Risk of rules for vectors of 3, 4, 10 and 100 coordinates against the bias of the others.
Cost: 1 minute on 2 cores.
Expected: James and Stein gain at any bias; at bias 0, V_g = 0 they leave 2/d of the risk.
"""

from typing import Annotated

import numpy as np

from experiments.contract import Claims, Context, Row, Rows, above, at_least, at_most, below
from experiments.fields import Bound, Count, NonNegative, Plural, Settings
from jcollab import plots
from jcollab.theory import averaging

STEIN = {"James-Stein": False, "James-Stein, positive part": True}
MONOTONE = ("naive", "positive part", "clipped ratio")  # weights that fall steadily with distance


class Config(Settings):
    """The others' estimate with unknown bias; the client's estimate has variance 1 in all."""

    dimensions: tuple[Annotated[int, Bound(at_least=3)], ...] = (3, 4, 10, 100)  # d
    global_variances: tuple[NonNegative, ...] = (0.0, 1.0)  # of the others' estimate, in all
    largest_bias: NonNegative = 6.0  # end of the grid of biases
    num_biases: Plural = 25  # points of the grid, from 0 on
    repetitions: Count = 100_000  # of the Monte Carlo
    seed: int = 0

    @property
    def biases(self) -> np.ndarray:
        """Grid of norms of the bias, in standard deviations of the client's own estimate."""
        return np.linspace(0, self.largest_bias, self.num_biases)


PRESETS = {"james_stein": Config()}
SMOKE = {"james_stein": {"repetitions": 500, "num_biases": 3, "dimensions": (3, 10)}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each dimension, variance and bias; risks relative to learning alone."""
    cases = context.cases(config.dimensions, config.global_variances, description="vectors")
    for d, v_g in cases:
        rng = np.random.default_rng(config.seed)
        own, noise = draw(rng, d, config.repetitions), draw(rng, d, config.repetitions)
        exact = {
            name: 1 - averaging.james_stein_benefit(d, 1.0, v_g, config.biases, positive=positive)
            for name, positive in STEIN.items()
        }
        rules = averaging.RULES | {
            name: averaging.james_stein(d, positive=positive) for name, positive in STEIN.items()
        }
        for i, bias in enumerate(config.biases):
            difference = np.sqrt(v_g) * noise - own
            difference.T[0] += bias
            square, along = (difference**2).sum(1), (difference * own).sum(1)
            row: Row = {"dimension": d, "global_variance": v_g, "bias": float(bias)}
            for name, rule in rules.items():
                a = rule(square, 1.0, v_g)
                # E|L|^2 = 1 exactly; the gain over it has a smaller variance than the risk
                gain = -(2 * a * along + a**2 * square)
                row[name] = 1 - gain.mean()
                row[f"{name}_error"] = gain.std() / np.sqrt(len(gain))
            row |= {f"{name}_exact": float(values[i]) for name, values in exact.items()}
            yield row


def draw(rng: np.random.Generator, d: int, repetitions: int) -> np.ndarray:
    """Draws vectors ``[R, d]`` whose expected squared norm is 1."""
    return rng.normal(size=(repetitions, d)) / np.sqrt(d)


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns risks at a few biases."""
    names = ("dimension", "global_variance", "bias", *averaging.RULES, *STEIN)
    some = set(config.biases[:: max(1, len(config.biases) // 6)])
    return [{name: row[name] for name in names} for row in rows if row["bias"] in some]


def claims(config: Config, rows: list[Row]) -> Claims:
    """Closed forms and Monte Carlo agree; who loses to learning alone, and who does not."""
    off = max(abs(r[n] - r[f"{n}_exact"]) / r[f"{n}_error"] for r in rows for n in STEIN)
    claim = "risk by Monte Carlo and in closed form, largest deviation in standard errors"
    yield at_most(claim, off, 4)
    plain, positive = (f"{name}_exact" for name in STEIN)
    claim = "James and Stein's rule never loses to learning alone (largest risk / V_l)"
    yield below(claim, max(row[plain] for row in rows), 1)
    claim = "its positive part is never worse (risk of the rule less that of the part, least)"
    yield at_least(claim, min(row[plain] - row[positive] for row in rows), 0)
    for d in config.dimensions:
        own = [row for row in rows if row["dimension"] == d]
        if d == 3:
            worst = min(max(row[name] for row in own) for name in averaging.RULES)
            claim = "d = 3: every rule of a single number loses at some bias (least of worst risks)"
            yield above(claim, worst, 1)
        else:
            losses = max((row[name] - 1) / row[f"{name}_error"] for row in own for name in MONOTONE)
            claim = f"d = {d}: rules without a jump never lose (most, in standard errors)"
            yield at_most(claim, losses, 3)
    claim = "the pre-test loses in every dimension (least of worst risks)"
    worst = min(
        max(row["pre-test"] for row in rows if row["dimension"] == d) for d in config.dimensions
    )
    yield above(claim, worst, 1)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Risks against the bias, a panel for each variance and dimension."""
    shape = len(config.global_variances), len(config.dimensions)
    size = (4.0 * shape[1], 3.6 * shape[0])
    fig, grid = plots.subplots(*shape, squeeze=False, sharex=True, sharey=True, figsize=size)
    dashes = dict.fromkeys(STEIN, "-") | {"clipped ratio": ":"}
    for panels, v_g in zip(grid, config.global_variances, strict=True):
        for ax, d in zip(panels, config.dimensions, strict=True):
            own = [r for r in rows if (r["dimension"], r["global_variance"]) == (d, v_g)]
            ax.axhline(1, color="black", lw=1, ls=":")
            for color, name in zip(plots.COLORS, (*averaging.RULES, *STEIN), strict=False):
                risks, style = [row[name] for row in own], {"ls": dashes.get(name, "--")}
                ax.plot([row["bias"] for row in own], risks, color=color, label=name, **style)
            ax.set(title=f"d = {d}, $V_g = {v_g:g}\\,V_l$", ylim=(0, 1.6))
            ax.set_xlim(0, config.largest_bias)
        panels[0].set_ylabel("mean squared error / $V_l$")
    for ax in grid[-1]:
        ax.set_xlabel("norm of the bias / sd of the estimate")
    grid[0, -1].legend(fontsize=9, loc="lower right")
    context.save(fig, "james_stein")
