"""Long delays: the exact slowdown, which depends on tau / (1 + M) only, and a Monte Carlo."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params.kinds import Delay
from jcollab import plots, second_moments

# recorded: M and tau to steps until E|x|^2 has fallen by 1e6
RECORDED = {
    (9, 0): 131.1, (9, 1): 143.8, (9, 3): 167.2, (9, 10): 240.2, (9, 30): 425.5, (9, 100): 1010.1,
    (99, 0): 1374.6, (99, 10): 1506.4, (99, 30): 1747.5, (99, 100): 2492.7, (99, 200): 3456.2,
}  # fmt: skip
TIMES = (50, 100, 200)
CASE = {"d": 8, "delay": 10, "learning_rate": 0.03414611911723687}


def run(config: Delay, context: Context) -> list[Row]:
    """Tuned steps for every M and delay, then the Monte Carlo."""
    rows: list[Row] = []
    task = context.progress.add_task("tuning", total=len(config.noise_ratios) * len(config.delays))
    for m in config.noise_ratios:
        first = None
        for tau in sorted(config.delays):
            if context.stop.is_set():
                return rows
            best = second_moments.tuned(m, delay=tau)
            first = first or best.steps or None
            row = {
                "M": m, "delay": tau, "ratio": tau / (1 + m),
                "rate_times_1_plus_M": best.learning_rate * (1 + m), "steps": best.steps,
                "slowdown": best.steps / first if m and first else None,
                "speed_up": (tau + 1) * first / best.steps if m and first else None,
            }  # fmt: skip
            rows.append(row)
            context.log().write(row)
            context.progress.advance(task)
    rows += monte_carlo(config)
    context.save(_figure(rows), "delay")
    return rows


def monte_carlo(config: Delay) -> list[Row]:
    """``tau + 1`` equal clients in turn, asynchronous SGD on Gaussian least squares with M = 9."""
    d, tau = CASE["d"], CASE["delay"]
    problem = jc.data.gaussian_regression(np.ones(d))
    algorithm = jc.with_metrics(
        jc.asynchronous(
            jc.data.regression_loss,
            optax.sgd(CASE["learning_rate"]),
            jc.arrivals.round_robin(tau + 1, tau + 1),
        ),
        lambda state: {"square": jnp.sum(state.shared.params**2)},
    )
    sample = jc.data.regression_samples(1)

    def squares(key: jax.Array) -> jax.Array:
        state = algorithm.init(key, jnp.ones((tau + 1, d)) / np.sqrt(d))
        _, log = jc.run(algorithm, state, problem, key, num_rounds=max(TIMES), sample=sample)
        return log["square"][jnp.array(TIMES) - 1]

    keys = jax.random.split(jax.random.key(config.seed), config.runs)
    values = np.asarray(jax.jit(jc.layout.per_replica(squares))(keys), float)
    exact = second_moments.delayed_moments(
        CASE["learning_rate"], max(TIMES), noise_ratio=d + 1, delay=tau
    )
    return [
        {
            "M": 9.0, "delay": tau, "time": t, "exact": float(exact[t]),
            "measured": float(values[:, i].mean()),
            "standard_error": float(values[:, i].std() / np.sqrt(len(values))),
        }
        for i, t in enumerate(TIMES)
    ]  # fmt: skip


def claims(config: Delay, rows: list[Row]) -> list[Claim]:
    """The recorded table, the collapse, no free delay without noise, the Monte Carlo."""
    found = []
    tuned = {(r["M"], r["delay"]): r for r in rows if "steps" in r}
    off = {k: tuned[k]["steps"] / v - 1 for k, v in RECORDED.items() if k in tuned}
    if off:
        worst = max(off, key=lambda k: abs(off[k]))
        found.append(
            Claim("T2: recorded steps (largest deviation)", "within 1%",
                  f"{off[worst]:+.3%} at M, tau = {worst}", abs(off[worst]) <= 0.01)
        )  # fmt: skip
    by_ratio: dict[float, list[float]] = {}
    for (m, tau), row in tuned.items():
        if m in (9, 99) and tau and row["slowdown"]:
            by_ratio.setdefault(round(tau / (1 + m), 6), []).append(row["slowdown"])
    gaps = {ratio: max(v) / min(v) - 1 for ratio, v in by_ratio.items() if len(v) > 1}
    if gaps:
        worst = max(gaps, key=gaps.__getitem__)
        found.append(
            Claim("slowdowns of M = 9 and M = 99 at equal tau / (1 + M) agree", "within 2%",
                  f"{gaps[worst]:.2%} at {worst:g}", gaps[worst] <= 0.02)
        )  # fmt: skip
    still = [r["steps"] / (r["delay"] + 1) for (m, tau), r in tuned.items() if m == 0 and tau >= 3]
    if still:
        claim = "without noise no delay is free: T = 6.9 (tau + 1)"
        low, high = min(still), max(still)
        fine = low >= 0.85 * 6.9 and high <= 1.15 * 6.9
        found.append(Claim(claim, "within 15% from tau = 3", f"{low:.2f} to {high:.2f}", fine))
    for row in rows:
        if "measured" in row:
            errors = (row["measured"] - row["exact"]) / row["standard_error"]
            claim = f"Monte Carlo of asynchronous SGD, M=9, tau=10, t={row['time']}"
            found.append(Claim(claim, "within 3 s.e.", f"{errors:+.1f}", abs(errors) <= 3))
    return found


def shown(config: Delay, rows: list[Row]) -> list[Row]:
    """The tuned ones."""
    return [r for r in rows if "steps" in r]


@plots.style()
def _figure(rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(9.6, 4))
    left, right = fig.subplots(1, 2)
    ratios = sorted({r["M"] for r in rows if r.get("slowdown")})
    for m, color, dash in zip(ratios, plots.COLORS, plots.DASHES, strict=False):
        own = [r for r in rows if r.get("slowdown") and r["M"] == m and r["delay"]]
        y = [r["slowdown"] for r in own]
        style = {
            "color": color,
            "label": f"M = {m:g}",
            "marker": "o",
            "markersize": 5,
            "linestyle": dash,
        }
        left.loglog([r["delay"] for r in own], y, **style)
        left.axvline(1 + m, color=color, linestyle=":", linewidth=1.4)
        right.loglog([r["ratio"] for r in own], y, **style)
    right.axvline(1, color="0.4", linestyle=":", linewidth=1.4)
    left.set(xlabel=r"delay $\tau$", ylabel="slowdown, tuned", title="free up to the noise")
    right.set(xlabel=r"$\tau\,/\,(1 + M)$", title="one curve for all")
    for ax in (left, right):
        ax.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        ax.minorticks_off()
        ax.legend(loc="upper left")
    left.annotate(r"dotted: $\tau = 1 + M$", (0.03, 0.68), xycoords="axes fraction", fontsize=10)
    return fig
