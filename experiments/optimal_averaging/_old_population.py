"""Clients of a population: one weight for all, in theory and through the mixer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.optimal_averaging.kinds import Population
from jcollab import averaging, plots

RULES = {
    "plug-in each": averaging.positive_part,
    "plug-in shared": averaging.pooled(averaging.positive_part),
}


def run(config: Population, context: Context) -> list[Row]:
    """One row for each spread of the targets."""
    rows: list[Row] = []
    weights = np.linspace(0, 1, config.num_weights)
    curves: dict[float, np.ndarray] = {}
    task = context.progress.add_task("population", total=len(config.spreads))
    for i, spread in enumerate(config.spreads):
        if context.stop.is_set():
            return rows
        setting = config.n, config.num_samples, config.variance, spread
        key = jax.random.fold_in(jax.random.key(config.seed), i)
        errors, ruled = simulate(config, spread, key, weights)
        curves[spread] = np.asarray(errors)
        best = averaging.population_weight(*setting)
        row = {
            "spread": spread,
            "a*": float(best),
            "a_mc": float(weights[curves[spread].argmin()]),
            "local": float(averaging.population_risk(0, *setting)),
            "global": float(averaging.population_risk(1, *setting)),
            "best": float(averaging.population_risk(best, *setting)),
            "local_mc": float(curves[spread][0]),
            "global_mc": float(curves[spread][-1]),
            "best_mc": float(curves[spread].min()),
            **{name: float(value) for name, value in ruled.items()},
        }
        context.log().write(row)
        rows.append(row)
        context.progress.advance(task)
    context.save(_figure(config, rows, weights, curves), "population")
    return rows


def simulate(config: Population, spread: float, key: Any, weights: np.ndarray) -> Any:
    """Mean squared errors of the mixer for each weight ``[A]`` and for the rules."""
    n, total = config.n, config.repetitions
    variance = config.variance / config.num_samples

    @jax.jit
    def measure(key: Any, weights: Any, spread: Any) -> Any:
        target_key, noise_key = jax.random.split(key)
        targets = spread * jax.random.normal(target_key, (n, total))
        local = targets + jnp.sqrt(variance) * jax.random.normal(noise_key, (n, total))

        def risk(mixer: jc.Mixer, x: Any, targets: Any) -> Any:
            mixed, _ = mixer.update(x, mixer.init(x), key=key, step=0)
            return jnp.mean((mixed - targets) ** 2)

        fixed = jax.lax.map(lambda a: risk(jc.personal_average(a), local, targets), weights)
        ruled = {}
        for name, rule in RULES.items():  # a repetition is one exchange, with weights of its own
            mixer = jc.personal_average(rule, variance=variance)
            ruled[name] = jax.vmap(lambda x, t, m=mixer: risk(m, x, t), (1, 1))(
                local, targets
            ).mean()
        return fixed, ruled

    return jax.device_get(measure(key, jnp.asarray(weights, jnp.float32), spread))


def claims(config: Population, rows: list[Row]) -> list[Claim]:
    """The best weight, found and predicted, and what the rules make of it."""
    step = 1 / (config.num_weights - 1)
    found = []
    off = max(abs(row["a_mc"] - row["a*"]) for row in rows)
    claim = "the best of the measured weights is the predicted one"
    found.append(Claim(claim, f"within {2 * step:g}", off, off <= 2 * step))
    off = max(
        abs(row[f"{name}_mc"] / row[name] - 1)
        for row in rows
        for name in ("local", "global", "best")
    )
    found.append(Claim("measured risks, largest deviation from theory", "<= 1 %", off, off <= 0.01))
    gain = min(min(row["local"], row["global"]) / row["best"] for row in rows if row["spread"])
    claim = "the best weight beats both alone and all together (ratio of risks, least)"
    found.append(Claim(claim, "> 1", gain, gain > 1))
    worst = max(row["plug-in shared"] / row["local"] for row in rows)
    claim = "one weight estimated from all clients never loses to learning alone (risk ratio)"
    found.append(Claim(claim, "<= 1", worst, worst <= 1))
    worst = max(row["plug-in each"] / row["local"] for row in rows)
    claim = "a weight estimated by each client alone loses to learning alone at some spread"
    found.append(Claim(claim, "> 1", worst, worst > 1))
    return found


@plots.style()
def _figure(
    config: Population, rows: list[Row], weights: np.ndarray, curves: dict[float, np.ndarray]
) -> Any:
    fig = plots.figure(figsize=(11, 4.4))
    left, right = fig.subplots(1, 2)
    chosen = config.spreads if len(config.spreads) <= 5 else config.spreads[:7:2]
    for color, spread in zip(plots.COLORS, chosen, strict=False):
        setting = config.n, config.num_samples, config.variance, spread
        theory = averaging.population_risk(weights, *setting)
        left.plot(weights, theory, color=color, label=f"{spread:g}")
        left.plot(weights[::5], curves[spread][::5], "o", ms=4, color=color)
        best = averaging.population_weight(*setting)
        left.plot(best, averaging.population_risk(best, *setting), "*", ms=13, color=color)
    local = rows[0]["local"]
    left.set(
        title="One weight for all clients",
        xlabel="weight of the others $a$",
        ylabel="mean squared error",
        ylim=(0, 2.2 * local),
        xlim=(0, 1),
    )
    left.legend(title="spread of the targets", title_fontsize=9, fontsize=9, ncol=2)
    spreads = np.array([row["spread"] for row in rows])
    fine = np.linspace(0, spreads.max(), 200)
    setting = config.n, config.num_samples, config.variance, fine
    right.axhline(1, color="black", lw=1, ls=":")
    right.text(0.0, 1.02, "alone", va="bottom", fontsize=9)
    lines = {
        "all together": averaging.population_risk(1, *setting),
        "best weight": averaging.population_risk(averaging.population_weight(*setting), *setting),
    }
    for color, (name, values) in zip(plots.COLORS, lines.items(), strict=False):
        right.plot(fine, values / local, color=color, label=name)
    for color, name in zip(plots.COLORS[2:], RULES, strict=False):
        values = [row[name] / row["local"] for row in rows]
        right.plot(spreads, values, "o--", ms=6, lw=1.2, color=color, label=name)
    right.set(
        title="What the weight is worth",
        xlabel="spread of the targets",
        ylabel="mean squared error / alone",
        ylim=(0, 1.6),
    )
    right.legend(fontsize=9, loc="lower right")
    return fig
