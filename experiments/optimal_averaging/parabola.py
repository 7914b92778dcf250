"""The universal parabola: risk against the weight of the others, for any distributions.

Optimal model averaging, arXiv 2110.12946, the figure.

    python -m experiments optimal_averaging parabola

Risk and benefit against the weight of the others, theory and Monte Carlo.
Cost: 5 s on 2 cores.
Expected: a* = .9, .826, .277, .09 at biases 0, .1, .5, 1; all benefits on r (2 - r).
"""

from typing import Annotated

import numpy as np

from experiments import contract
from experiments.contract import Claim, Claims, Context, Row, Rows, above, at_most, below, columns
from experiments.fields import Bound, Count, Settings
from jcollab import plots
from jcollab.theory import averaging

CHUNK = 20_000
Bias = Annotated[float, Bound(at_least=-1e3, at_most=1e3)]
Ratio = Annotated[float, Bound(at_least=-10, at_most=10)]


class Config(Settings):
    """A client, and others with a biased mean."""

    biases: tuple[Bias, ...] = (0.0, 0.1, 0.2, 0.5, 1.0)  # of the others' mean
    local_samples: Count = 10  # of the client, exponential with variance 1
    global_samples: Count = 90  # of the others, uniform with variance 1
    # weights, as multiples of the best one
    ratios: tuple[Ratio, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
    repetitions: Count = 400_000  # of the Monte Carlo
    seed: int = 0

    @property
    def variances(self) -> tuple[float, float]:
        """Variances of the client's mean and of the others' mean."""
        sizes = self.local_samples, self.global_samples
        return tuple(averaging.sampling_variance(1.0, size) for size in sizes)


PRESETS = {"parabola": Config()}
SMOKE = {"parabola": {"repetitions": 2000, "biases": (0.0, 0.5)}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each bias and weight."""
    own, others = draw(config)
    for bias, r in context.cases(config.biases, config.ratios, description="parabola"):
        best = averaging.optimal_weight(*config.variances, bias)
        a = r * best
        losses = ((1 - a) * own + a * (others + bias)) ** 2
        gain = own**2 - losses
        yield {
            "bias": bias,
            "a*": float(best),
            "r": r,
            "weight": float(a),
            "risk": float(averaging.risk(a, *config.variances, bias)),
            "risk_mc": float(losses.mean()),
            "benefit": float(averaging.benefit(a, *config.variances, bias)),
            "benefit_mc": float(gain.mean()),
            "benefit_error": float(gain.std() / np.sqrt(len(gain))),
        }


def draw(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Draws errors of both means, without the bias, ``[R]`` each."""
    rng = np.random.default_rng(config.seed)
    own, others = [], []
    for start in range(0, config.repetitions, CHUNK):
        count = min(CHUNK, config.repetitions - start)
        own.append(rng.exponential(size=(count, config.local_samples)).mean(1) - 1)
        uniform = rng.uniform(size=(count, config.global_samples)).mean(1) - 0.5
        others.append(np.sqrt(12) * uniform)
    return np.concatenate(own), np.concatenate(others)


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns risks at multiples r of the best weight, a line for each bias."""
    few = [row for row in rows if row["r"] in (0, 1, 2)]
    return contract.pivot(few, "bias a*", "r", "risk")


def claims(config: Config, rows: list[Row]) -> Claims:
    """Theory agrees with Monte Carlo, and consequences of the theory."""
    risk, measured = columns(rows, "risk risk_mc")
    off = abs(measured / risk - 1).max()
    yield at_most("risk by Monte Carlo, largest deviation from theory", off, 0.01)
    best = {row["bias"]: row["benefit"] for row in rows if row["r"] == 1}
    if best:
        worst = max(
            abs(row["benefit_mc"] / best[row["bias"]] - row["r"] * (2 - row["r"]))
            / max(5 * row["benefit_error"] / best[row["bias"]], 1e-12)
            for row in rows
            if row["r"] > 0
        )
        claim = "the measured benefit over the best one is r (2 - r), for every bias"
        measured = f"{5 * worst:.2f} standard errors"
        yield Claim(claim, "within 5 standard errors", measured, worst <= 1)
    helping = [row["benefit_mc"] / row["benefit_error"] for row in rows if 0 < row["r"] < 2]
    if helping:
        claim = "some averaging always helps (measured benefit, 0 < r < 2, in standard errors)"
        yield above(claim, min(helping), 0)
    harmful = [row["benefit_mc"] for row in rows if row["r"] > 2]
    if harmful:
        yield below("beyond twice the best weight it harms", max(harmful), 0)


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Risk against the weight for each bias, and all benefits on one parabola."""
    fig, (left, right) = plots.subplots(1, 2, figsize=(11, 4.4))
    v_l, v_g = config.variances
    grid = np.linspace(0, 1, 201)
    for i, (color, bias) in enumerate(zip(plots.COLORS, config.biases, strict=False)):
        left.plot(grid, averaging.risk(grid, v_l, v_g, bias) / v_l, color=color)
        best = averaging.optimal_weight(v_l, v_g, bias)
        lowest = averaging.optimal_risk(v_l, v_g, bias) / v_l
        left.plot(best, lowest, "*", ms=13, color=color, zorder=3, label=f"{bias:g}")
        own = [row for row in rows if row["bias"] == bias]
        inside = [row for row in own if 0 < row["weight"] < 1 and row["r"] != 1]
        weights, risks = columns(inside, "weight risk_mc")
        left.plot(weights, risks / v_l, "o", ms=4.5, color=color)
        scale = averaging.benefit(best, v_l, v_g, bias)
        ratios, gains = columns(own, "r benefit_mc")
        style = {"ms": max(3, 13 - 2.5 * i), "zorder": 2 + i}  # coinciding markers stay visible
        right.plot(ratios, gains / scale, "o", color=color, **style)
    left.axhline(1, color="black", lw=1, ls=":", label="alone")
    left.set(title="Risk against the weight of the others", xlim=(0, 1), ylim=(0, 2))
    left.set(xlabel="weight of the others $a$", ylabel="mean squared error / $V_l$")
    left.legend(title="bias of the others", title_fontsize=9, fontsize=9, loc="lower left", ncol=2)
    r = np.linspace(min(0, *config.ratios), max(2, *config.ratios), 201)
    right.plot(r, averaging.relative_benefit(r), color="black", lw=1.5, zorder=0)
    right.axhline(0, color="black", lw=1, ls=":")
    right.text(0.35, -0.9, "$r\\,(2-r)$: line\nMonte Carlo: dots", fontsize=10)
    right.set(title="Every problem on one parabola", xlabel="$r = a / a^*$")
    right.set_ylabel("benefit / largest benefit")
    context.save(fig, "parabola")
