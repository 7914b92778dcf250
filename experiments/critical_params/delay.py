"""Slowdown against the delay, which depends on tau / (1 + M) only.

Critical parameters, arXiv 2103.02351; table T2 is derived in this repository.

    python -m experiments critical_params delay

T2: slowdown against the delay, every delay tuned, exact and Monte Carlo.
Cost: 15 seconds on 2 cores.
Expected: one curve of tau / (1 + M): 1.1 at .1, 1.8 at 1, 7.7 at 10.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row, check
from experiments.critical_params._moments import monte_carlo, within, within_errors
from jcollab import plots, second_moments

# recorded: M and tau to steps until E|x|^2 has fallen by 1e6
RECORDED = {
    (9, 0): 131.1, (9, 1): 143.8, (9, 3): 167.2, (9, 10): 240.2, (9, 30): 425.5, (9, 100): 1010.1,
    (99, 0): 1374.6, (99, 10): 1506.4, (99, 30): 1747.5, (99, 100): 2492.7, (99, 200): 3456.2,
}  # fmt: skip
# the recorded Monte Carlo: M = d + 1
D, TAU, RATE, TIMES = 8, 10, 0.03414611911723687, (50, 100, 200)


@dataclasses.dataclass(frozen=True)
class Config:
    """Which delays are tuned."""

    noise_ratios: tuple[float, ...] = (0.0, 9.0, 99.0)  # values of M
    delays: tuple[int, ...] = (0, 1, 3, 10, 30, 100, 200)  # values of tau
    runs: int = 20_000  # Monte Carlo runs, with M = 9 and tau = 10
    seed: int = 0  # of the Monte Carlo

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check(self, "runs", at_least=1)
        check(self, "noise_ratios delays", at_least=0)
        if 0 not in self.delays:
            raise ValueError(f"delays must hold 0, which slowdowns refer to, got {self.delays}")


PRESETS = {"delay": Config()}
SMOKE = {"delay": {"delays": (0, 3), "noise_ratios": (9.0, 99.0), "runs": 50}}


def run(config: Config, context: Context) -> list[Row]:
    """Tuned steps for every M and delay, then the Monte Carlo."""
    rows: list[Row] = []
    first = 0.0
    cases = context.cases(config.noise_ratios, sorted(config.delays), description="tuning")
    for m, tau in cases:
        best = second_moments.tuned(m, delay=tau)
        first = best.steps if tau == 0 else first
        row = {
            "M": m,
            "delay": tau,
            "ratio": tau / (1 + m),
            "rate_times_1_plus_M": best.learning_rate * (1 + m),
            "steps": best.steps,
            "slowdown": best.steps / first if m and first else None,
            "speed_up": (tau + 1) * first / best.steps if m and first else None,
        }
        rows.append(row)
        context.log().write(row)
    if context.stop.is_set():
        return rows
    # tau + 1 equal clients in turn on Gaussian least squares
    turns = jc.arrivals.round_robin(TAU + 1, TAU + 1)
    found = monte_carlo(
        jc.asynchronous(jc.data.regression_loss, optax.sgd(RATE), turns),
        jc.data.gaussian_regression(np.ones(D)),
        D,
        n=TAU + 1,
        batch=1,
        times=TIMES,
        exact=second_moments.delayed_moments(RATE, max(TIMES), noise_ratio=D + 1, delay=TAU),
        config=config,
    )
    return rows + [{"M": D + 1.0, "delay": TAU} | row for row in found]


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """The recorded table, the collapse, no free delay without noise, the Monte Carlo."""
    found = []
    tuned = {(r["M"], r["delay"]): r for r in rows if "steps" in r}
    off = {k: tuned[k]["steps"] / v - 1 for k, v in RECORDED.items() if k in tuned}
    if off:
        worst = max(off, key=lambda k: abs(off[k]))
        measured = f"{off[worst]:+.3%} at M, tau = {worst}"
        found.append(within("T2: recorded steps (largest deviation)", off[worst], 0.01, measured))
    by_ratio: dict[float, list[float]] = {}
    for (m, tau), row in tuned.items():
        if m in (9, 99) and tau and row["slowdown"]:
            by_ratio.setdefault(round(tau / (1 + m), 6), []).append(row["slowdown"])
    gaps = {ratio: max(v) / min(v) - 1 for ratio, v in by_ratio.items() if len(v) > 1}
    if gaps:
        worst = max(gaps, key=gaps.__getitem__)
        claim = "slowdowns of M = 9 and M = 99 at equal tau / (1 + M) agree"
        found.append(within(claim, gaps[worst], 0.02, f"{gaps[worst]:.2%} at {worst:g}"))
    still = [r["steps"] / (r["delay"] + 1) for (m, tau), r in tuned.items() if m == 0 and tau >= 3]
    if still:
        claim = "without noise no delay is free: T = 6.9 (tau + 1)"
        low, high = min(still), max(still)
        fine = low >= 0.85 * 6.9 and high <= 1.15 * 6.9
        found.append(Claim(claim, "within 15% from tau = 3", f"{low:.2f} to {high:.2f}", fine))
    for row in rows:
        if "measured" in row:
            claim = f"Monte Carlo of asynchronous SGD, M=9, tau=10, t={row['time']}"
            off = row["measured"] - row["exact"]
            found.append(within_errors(claim, off, row["standard_error"]))
    return found


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """The tuned ones."""
    return [r for r in rows if "steps" in r]


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Slowdowns against the delay, and against the delay over 1 + M."""
    fig = plots.figure(figsize=(9.6, 4))
    left, right = fig.subplots(1, 2)
    ratios = sorted({r["M"] for r in rows if r.get("slowdown")})
    for m, color, dash in zip(ratios, plots.COLORS, plots.DASHES, strict=False):
        own = [r for r in rows if r.get("slowdown") and r["M"] == m and r["delay"]]
        for ax, name in ((left, "delay"), (right, "ratio")):
            ax.loglog(
                [r[name] for r in own],
                [r["slowdown"] for r in own],
                color=color,
                label=f"M = {m:g}",
                marker="o",
                markersize=5,
                linestyle=dash,
            )
        left.axvline(1 + m, color=color, linestyle=":", linewidth=1.4)
    right.axvline(1, color="0.4", linestyle=":", linewidth=1.4)
    left.set(xlabel=r"delay $\tau$", ylabel="slowdown, tuned", title="free up to the noise")
    right.set(xlabel=r"$\tau\,/\,(1 + M)$", title="one curve for all")
    for ax in (left, right):
        ax.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        ax.minorticks_off()
        ax.legend(loc="upper left")
    left.annotate(r"dotted: $\tau = 1 + M$", (0.03, 0.68), xycoords="axes fraction", fontsize=10)
    context.save(fig, "delay")
