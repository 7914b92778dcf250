"""The cost of estimating the weight: risk of plug-in rules against the bias.

Optimal model averaging, arXiv 2110.12946, the question of estimated weights.

    python -m experiments optimal_averaging plug_in

Risk of four plug-in rules against the bias of the others.
Cost: 15 s on 2 cores.
Expected: gains near bias 0; from 1 or 2 to 5 and more sd, every rule loses to local.
"""

import numpy as np

from experiments.contract import Claim, Claims, Context, Row, Rows, at_most, below
from experiments.fields import Count, NonNegative, Plural, Settings
from jcollab import plots
from jcollab.theory import averaging

LOSS = 1 + 1e-6  # smaller losses may be errors of the quadrature
SHOWN = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)


class Config(Settings):
    """The others' estimate with unknown bias; the client's estimate has variance 1."""

    global_variances: tuple[NonNegative, ...] = (0.0, 0.1, 1.0)  # of the others' estimate
    largest_bias: NonNegative = 10.0  # end of the grid of biases
    num_biases: Plural = 81  # points of the grid, from 0 on
    repetitions: Count = 200_000  # of the Monte Carlo
    seed: int = 0

    @property
    def biases(self) -> np.ndarray:
        """Grid of biases, in standard deviations of the client's own estimate."""
        return np.linspace(0, self.largest_bias, self.num_biases)


PRESETS = {"plug_in": Config()}
SMOKE = {"plug_in": {"repetitions": 2000, "num_biases": 5, "global_variances": (0.1,)}}


def run(config: Config, context: Context) -> Rows:
    """Yields one row for each variance and bias; risks relative to learning alone."""
    own, noise = np.random.default_rng(config.seed).normal(size=(2, config.repetitions))
    for v_g in context.cases(config.global_variances, description="plug-in rules"):
        exact = {
            name: averaging.plug_in_risk(rule, 1.0, v_g, config.biases)
            for name, rule in averaging.RULES.items()
        }
        best = averaging.optimal_risk(1.0, v_g, config.biases)
        for i, bias in enumerate(config.biases):
            others = bias + np.sqrt(v_g) * noise
            row: Row = {"global_variance": v_g, "bias": float(bias), "oracle": float(best[i])}
            for name, rule in averaging.RULES.items():
                a = rule((others - own) ** 2, 1.0, v_g)
                row[name] = float(exact[name][i])
                row[f"{name}_mc"] = float((((1 - a) * own + a * others) ** 2).mean())
            yield row


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns risks at a few biases."""
    names = ("global_variance", "bias", "oracle", *averaging.RULES)
    nearest = {float(min(config.biases, key=lambda b: abs(b - bias))) for bias in SHOWN}
    return [{name: row[name] for name in names} for row in rows if row["bias"] in nearest]


def losing(rows: list[Row], v_g: float) -> np.ndarray:
    """Returns biases at which every rule is worse than learning alone."""
    own = (row for row in rows if row["global_variance"] == v_g)
    return np.array(
        [row["bias"] for row in own if all(row[name] > LOSS for name in averaging.RULES)]
    )


def claims(config: Config, rows: list[Row]) -> Claims:
    """Gains near bias 0, and biases at which every rule loses."""
    off = max(abs(row[f"{n}_mc"] / row[n] - 1) for row in rows for n in averaging.RULES)
    unbiased = max(row[n] for row in rows if row["bias"] == 0 for n in averaging.RULES)
    best = max(row["oracle"] for row in rows)
    yield at_most("risk by Monte Carlo, largest deviation from quadrature", off, 0.02)
    yield below("the best weight never loses (risk / V_l)", best, 1)
    yield below("without a bias every rule gains (worst risk / V_l)", unbiased, 1)
    for v_g in config.global_variances:
        band = losing(rows, v_g)
        measured = f"{band.min():.3g} to {band.max():.3g}" if band.size else "none"
        claim = f"there are biases at which every rule loses to learning alone, V_g = {v_g:g} V_l"
        yield Claim(claim, "a band", measured, bool(band.size))
    worst = {name: max(row[name] for row in rows) for name in averaging.RULES}
    measured = ", ".join(f"{name} {value:.2f}" for name, value in worst.items())
    claim = "the naive rule, which averages least, has the smallest worst risk"
    least = min(worst, key=worst.__getitem__)
    yield Claim(claim, "smallest", measured, least == "naive")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Risks against the bias, a panel for each variance of the others."""
    count = len(config.global_variances)
    fig, panels = plots.row(count, 4.2, 4.3, 1.2)
    for ax, v_g in zip(panels, config.global_variances, strict=True):
        own = [row for row in rows if row["global_variance"] == v_g]
        biases = [row["bias"] for row in own]
        band = losing(rows, v_g)
        if band.size:
            ax.axvspan(band.min(), band.max(), color="black", alpha=0.07, lw=0)
            style = {"ha": "center", "fontsize": 9, "color": "0.35"}
            ax.text(band.mean(), 0.04, "every rule loses\nto learning alone", **style)
        ax.axhline(1, color="black", lw=1, ls=":")
        for color, name in zip(plots.COLORS, averaging.RULES, strict=False):
            ax.plot(biases, [row[name] for row in own], color=color, label=name)
        best = [row["oracle"] for row in own]
        ax.plot(biases, best, color="black", lw=1.6, label="best weight, unknown")
        ax.set(title=f"$V_g = {v_g:g}\\,V_l$", ylim=(0, None), xlim=(0, config.largest_bias))
        ax.set_xlabel("bias of the others / sd of the client's estimate")
    panels[0].set_ylabel("mean squared error / $V_l$")
    panels[-1].legend(fontsize=9, loc="upper right")
    context.save(fig, "plug_in")
