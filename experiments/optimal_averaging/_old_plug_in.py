"""What it costs not to know the best weight: risk of plug-in rules against the bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.contract import Claim, Context, Row
from experiments.optimal_averaging.kinds import PlugInRisk
from jcollab import averaging, plots

LOSS = 1 + 1e-6  # less may be an error of the quadrature
SHOWN = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)


def grid(config: PlugInRisk) -> np.ndarray:
    """The biases, in standard deviations of the client's own estimate."""
    return np.linspace(0, config.largest_bias, config.num_biases)


def run(config: PlugInRisk, context: Context) -> list[Row]:
    """One row for each variance and bias, risks over that of learning alone."""
    rows: list[Row] = []
    rng = np.random.default_rng(config.seed)
    own, noise = rng.normal(size=(2, config.repetitions))
    biases = grid(config)
    task = context.progress.add_task("plug-in rules", total=len(config.global_variances))
    for v_g in config.global_variances:
        if context.stop.is_set():
            return rows
        exact = {
            name: averaging.plug_in_risk(rule, 1.0, v_g, biases)
            for name, rule in averaging.RULES.items()
        }
        oracle = averaging.optimal_risk(1.0, v_g, biases)
        for i, bias in enumerate(biases):
            others = bias + np.sqrt(v_g) * noise
            row: Row = {"global_variance": v_g, "bias": float(bias), "oracle": float(oracle[i])}
            for name, rule in averaging.RULES.items():
                a = rule((others - own) ** 2, 1.0, v_g)
                row[name] = float(exact[name][i])
                row[f"{name}_mc"] = float((((1 - a) * own + a * others) ** 2).mean())
            context.log().write(row)
            rows.append(row)
        context.progress.advance(task)
    context.save(_figure(config, rows), "plug_in")
    return rows


def shown(config: PlugInRisk, rows: list[Row]) -> list[Row]:
    """The risks at a few biases."""
    names = ("global_variance", "bias", "oracle", *averaging.RULES)
    nearest = {float(min(grid(config), key=lambda b: abs(b - bias))) for bias in SHOWN}
    return [{name: row[name] for name in names} for row in rows if row["bias"] in nearest]


def losing(rows: list[Row], v_g: float) -> np.ndarray:
    """Biases at which every rule does worse than learning alone."""
    return np.array(
        [
            row["bias"]
            for row in rows
            if row["global_variance"] == v_g and all(row[name] > LOSS for name in averaging.RULES)
        ]
    )


def claims(config: PlugInRisk, rows: list[Row]) -> list[Claim]:
    """What is gained, and where every rule loses."""
    found = []
    off = max(abs(row[f"{n}_mc"] / row[n] - 1) for row in rows for n in averaging.RULES)
    found.append(
        Claim("risk by Monte Carlo, largest deviation from quadrature", "<= 2 %", off, off <= 0.02)
    )
    worst = max(row["oracle"] for row in rows)
    found.append(Claim("the best weight never loses (risk / V_l)", "< 1", worst, worst < 1))
    unbiased = max(row[n] for row in rows if row["bias"] == 0 for n in averaging.RULES)
    claim = "without a bias every rule gains (worst risk / V_l)"
    found.append(Claim(claim, "< 1", unbiased, unbiased < 1))
    for v_g in config.global_variances:
        band = losing(rows, v_g)
        said = f"{band.min():.3g} to {band.max():.3g}" if band.size else "none"
        claim = f"there are biases at which every rule loses to learning alone, V_g = {v_g:g} V_l"
        found.append(Claim(claim, "a band", said, bool(band.size)))
    most = {n: max(row[n] for row in rows) for n in averaging.RULES}
    said = ", ".join(f"{name} {value:.2f}" for name, value in most.items())
    claim = "the naive rule, which averages least, has the smallest worst risk"
    found.append(Claim(claim, "smallest", said, min(most, key=most.__getitem__) == "naive"))
    return found


@plots.style()
def _figure(config: PlugInRisk, rows: list[Row]) -> Any:
    count = len(config.global_variances)
    fig = plots.figure(figsize=(1.2 + 4.2 * count, 4.3))
    panels = fig.subplots(1, count, sharey=True, squeeze=False)[0]
    for ax, v_g in zip(panels, config.global_variances, strict=True):
        own = [row for row in rows if row["global_variance"] == v_g]
        biases = [row["bias"] for row in own]
        band = losing(rows, v_g)
        if band.size:
            ax.axvspan(band.min(), band.max(), color="black", alpha=0.07, lw=0)
            ax.text(
                band.mean(), 0.04, "every rule loses\nto learning alone",
                ha="center", fontsize=9, color="0.35",
            )  # fmt: skip
        ax.axhline(1, color="black", lw=1, ls=":")
        for color, name in zip(plots.COLORS, averaging.RULES, strict=False):
            ax.plot(biases, [row[name] for row in own], color=color, label=name)
        ax.plot(
            biases,
            [row["oracle"] for row in own],
            color="black",
            lw=1.6,
            label="best weight, unknown",
        )
        ax.set(
            title=f"$V_g = {v_g:g}\\,V_l$",
            xlabel="bias of the others / sd of the client's estimate",
            ylim=(0, None),
            xlim=(0, config.largest_bias),
        )
    panels[0].set_ylabel("mean squared error / $V_l$")
    panels[-1].legend(fontsize=9, loc="upper right")
    return fig
