"""The universal parabola: risk against the weight of the others, whatever the distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.contract import Claim, Context, Row
from experiments.optimal_averaging.kinds import Parabola
from jcollab import averaging, plots

CHUNK = 20_000


def run(config: Parabola, context: Context) -> list[Row]:
    """One row for each bias and weight."""
    rows: list[Row] = []
    v_l = averaging.sampling_variance(1.0, config.local_samples)
    v_g = averaging.sampling_variance(1.0, config.global_samples)
    task = context.progress.add_task("parabola", total=len(config.biases))
    own, others = draw(config)
    for bias in config.biases:
        if context.stop.is_set():
            return rows
        best = averaging.optimal_weight(v_l, v_g, bias)
        for r in config.ratios:
            a = r * best
            losses = ((1 - a) * own + a * (others + bias)) ** 2
            gain = own**2 - losses
            row = {
                "bias": bias,
                "a*": float(best),
                "r": r,
                "weight": float(a),
                "risk": float(averaging.risk(a, v_l, v_g, bias)),
                "risk_mc": float(losses.mean()),
                "benefit": float(averaging.benefit(a, v_l, v_g, bias)),
                "benefit_mc": float(gain.mean()),
                "benefit_error": float(gain.std() / np.sqrt(len(gain))),
            }
            context.log().write(row)
            rows.append(row)
        context.progress.advance(task)
    context.save(_figure(config, rows), "parabola")
    return rows


def draw(config: Parabola) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the client's mean and of the others', without their bias, ``[R]`` each."""
    rng = np.random.default_rng(config.seed)
    own, others = [], []
    for start in range(0, config.repetitions, CHUNK):
        count = min(CHUNK, config.repetitions - start)
        own.append(rng.exponential(size=(count, config.local_samples)).mean(1) - 1)
        uniform = rng.uniform(size=(count, config.global_samples)).mean(1) - 0.5
        others.append(np.sqrt(12) * uniform)
    return np.concatenate(own), np.concatenate(others)


def shown(config: Parabola, rows: list[Row]) -> list[Row]:
    """A line for each bias."""
    table = []
    for bias in config.biases:
        by_ratio = {row["r"]: row for row in rows if row["bias"] == bias}
        line = {"bias": bias}
        for r, name in ((0.0, "alone"), (1.0, "best"), (2.0, "twice")):
            if r in by_ratio:
                line |= {"a*": by_ratio[r]["a*"]}
                line |= {f"risk_{name}": by_ratio[r]["risk"], f"mc_{name}": by_ratio[r]["risk_mc"]}
        table.append(line)
    return table


def claims(config: Parabola, rows: list[Row]) -> list[Claim]:
    """Theory against Monte Carlo, and what the theory says."""
    off = max(abs(row["risk_mc"] / row["risk"] - 1) for row in rows)
    found = [
        Claim("risk by Monte Carlo, largest deviation from theory", "<= 1 %", off, off <= 0.01)
    ]
    best = {row["bias"]: row for row in rows if row["r"] == 1}
    if best:
        errors = [
            abs(row["benefit_mc"] / best[row["bias"]]["benefit"] - row["r"] * (2 - row["r"]))
            / max(5 * row["benefit_error"] / best[row["bias"]]["benefit"], 1e-12)
            for row in rows
            if row["r"] > 0
        ]
        worst = max(errors)
        found.append(
            Claim(
                "the measured benefit over the best one is r (2 - r), for every bias",
                "within 5 standard errors", f"{5 * worst:.2f} standard errors", worst <= 1,
            )
        )  # fmt: skip
    helping = [row for row in rows if 0 < row["r"] < 2]
    if helping:
        least = min(row["benefit_mc"] / row["benefit_error"] for row in helping)
        found.append(
            Claim(
                "some averaging always helps (measured benefit, 0 < r < 2, in standard errors)",
                "> 0", least, least > 0,
            )
        )  # fmt: skip
    harmful = [row["benefit_mc"] for row in rows if row["r"] > 2]
    if harmful:
        most = max(harmful)
        found.append(Claim("beyond twice the best weight it harms", "< 0", most, most < 0))
    return found


@plots.style()
def _figure(config: Parabola, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(11, 4.4))
    left, right = fig.subplots(1, 2)
    v_l = averaging.sampling_variance(1.0, config.local_samples)
    v_g = averaging.sampling_variance(1.0, config.global_samples)
    grid = np.linspace(0, 1, 201)
    for i, (color, bias) in enumerate(zip(plots.COLORS, config.biases, strict=False)):
        left.plot(grid, averaging.risk(grid, v_l, v_g, bias) / v_l, color=color)
        best = averaging.optimal_weight(v_l, v_g, bias)
        lowest = averaging.optimal_risk(v_l, v_g, bias) / v_l
        left.plot(best, lowest, "*", ms=13, color=color, zorder=3, label=f"{bias:g}")
        own = [row for row in rows if row["bias"] == bias]
        inside = [row for row in own if 0 < row["weight"] < 1 and row["r"] != 1]
        left.plot(
            [row["weight"] for row in inside],
            [row["risk_mc"] / v_l for row in inside],
            "o", ms=4.5, color=color,
        )  # fmt: skip
        scale = averaging.benefit(best, v_l, v_g, bias)
        right.plot(
            [row["r"] for row in own],
            [row["benefit_mc"] / scale for row in own],
            "o", ms=max(3, 13 - 2.5 * i), color=color, zorder=2 + i,  # one within the other
        )  # fmt: skip
    left.axhline(1, color="black", lw=1, ls=":")
    left.text(1.0, 1.02, "learning alone", ha="right", va="bottom", fontsize=9)
    left.set(
        title="Risk against the weight of the others",
        xlabel="weight of the others $a$",
        ylabel="mean squared error / $V_l$",
        ylim=(0, 2),
        xlim=(0, 1),
    )
    left.legend(title="bias of the others", title_fontsize=9, fontsize=9, loc="lower left", ncol=2)
    r = np.linspace(min(0, *config.ratios), max(2, *config.ratios), 201)
    right.plot(r, averaging.relative_benefit(r), color="black", lw=1.5, zorder=0)
    right.axhline(0, color="black", lw=1, ls=":")
    right.text(0.35, -0.9, "$r\\,(2-r)$: line\nMonte Carlo: dots", fontsize=10)
    right.set(
        title="Every problem on one parabola",
        xlabel="$r = a / a^*$",
        ylabel="benefit / largest benefit",
    )
    return fig
