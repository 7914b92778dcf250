"""Slowdown against the delay, which depends on tau / (1 + M) only.

Critical parameters, arXiv 2103.02351; table T2 is derived in this repository.

    python -m experiments critical_params delay

T2: slowdown against the delay, every delay tuned, exact and Monte Carlo.
Cost: 15 seconds on 2 cores.
Expected: one curve of tau / (1 + M): 1.1 at .1, 1.8 at 1, 7.7 at 10.
"""

from typing import Annotated

import numpy as np

from experiments.contract import Claim, Claims, Context, Row, Rows, columns, within
from experiments.critical_params._common import monte_carlo, within_errors
from experiments.fields import Bound, Count, Natural, NonNegative, Settings
from jcollab import plots
from jcollab.theory import second_moments

# recorded steps until E|x|^2 has fallen by 1e6, for M and tau
RECORDED = {
    (9, 0): 131.1, (9, 1): 143.8, (9, 3): 167.2, (9, 10): 240.2, (9, 30): 425.5, (9, 100): 1010.1,
    (99, 0): 1374.6, (99, 10): 1506.4, (99, 30): 1747.5, (99, 100): 2492.7, (99, 200): 3456.2,
}  # fmt: skip
# the recorded Monte Carlo: M = d + 1
D, TAU, RATE, TIMES = 8, 10, 0.03414611911723687, (50, 100, 200)


class Config(Settings):
    """Noise ratios and delays."""

    noise_ratios: tuple[NonNegative, ...] = (0.0, 9.0, 99.0)  # values of M
    # values of tau; slowdowns refer to 0
    delays: Annotated[tuple[Natural, ...], Bound(containing=0)] = (0, 1, 3, 10, 30, 100, 200)
    runs: Count = 20_000  # Monte Carlo runs, with M = 9 and tau = 10
    seed: int = 0  # of the Monte Carlo


PRESETS = {"delay": Config()}
SMOKE = {"delay": {"delays": (0, 3), "noise_ratios": (9.0, 99.0), "runs": 50}}


def run(config: Config, context: Context) -> Rows:
    """Computes tuned steps, then runs ``tau + 1`` clients on Gaussian least squares."""
    cases = context.cases(config.noise_ratios, sorted(config.delays), description="tuning")
    for m, tau in cases:
        rate, _, steps = second_moments.tuned(m, delay=tau)
        if tau == 0:
            first = steps
        slow = steps / first if m and first else None
        row = {"M": m, "delay": tau, "ratio": tau / (1 + m), "steps": steps, "slowdown": slow}
        row |= {"rate_times_1_plus_M": rate * (1 + m), "speed_up": slow and (tau + 1) / slow}
        yield row
    if not context.stop.is_set():
        simulated = monte_carlo(config, D, RATE, TIMES, delay=TAU)
        yield from [{"M": D + 1.0, "delay": TAU} | row for row in simulated]


def claims(config: Config, rows: list[Row]) -> Claims:
    """The recorded table, one curve for all M, no free delay without noise, Monte Carlo."""
    tuned = {(r["M"], r["delay"]): r for r in rows if "steps" in r}
    off = {k: tuned[k]["steps"] / v - 1 for k, v in RECORDED.items() if k in tuned}
    if off:
        worst = max(off, key=lambda k: abs(off[k]))
        measured = f"{off[worst]:+.3%} at M, tau = {worst}"
        yield within("T2: recorded steps (largest deviation)", off[worst], 0.01, measured)
    slow = {key: row["slowdown"] for key, row in tuned.items()}
    same = [tau for m, tau in slow if m == 9 and tau and (99, 10 * tau) in slow]
    if same:
        low, high = np.sort([[slow[9, tau], slow[99, 10 * tau]] for tau in same]).T
        worst = int(np.argmax(high / low))
        gap = high[worst] / low[worst] - 1
        claim = "slowdowns of M = 9 and M = 99 at equal tau / (1 + M) agree"
        yield within(claim, gap, 0.02, f"{gap:.2%} at {same[worst] / 10:g}")
    still = [r["steps"] / (tau + 1) for (m, tau), r in tuned.items() if m == 0 and tau >= 3]
    if still:
        low, high = min(still), max(still)
        claim = "without noise no delay is free: T = 6.9 (tau + 1)"
        fine = low >= 0.85 * 6.9 and high <= 1.15 * 6.9
        yield Claim(claim, "within 15% from tau = 3", f"{low:.2f} to {high:.2f}", fine)
    claim = "Monte Carlo of asynchronous SGD, M=9, tau=10, t={time}"
    yield from [within_errors(claim.format(**r), r) for r in rows if "measured" in r]


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns the rows with tuned steps."""
    return [r for r in rows if "steps" in r]


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Slowdowns against the delay, and against the delay over 1 + M."""
    fig, panels = plots.subplots(1, 2, figsize=(9.6, 4))
    late = [r for r in rows if r.get("slowdown") and r["delay"]]
    labels = {"delay": r"delay $\tau$ (dotted: $1 + M$)", "ratio": r"$\tau\,/\,(1 + M)$"}
    for ax, (name, label) in zip(panels, labels.items(), strict=True):
        for m, color in zip(sorted({r["M"] for r in late}), plots.COLORS, strict=False):
            x, y = columns([r for r in late if r["M"] == m], f"{name} slowdown")
            ax.loglog(x, y, "o-", base=2, color=color, label=f"M = {m:g}", markersize=5)
            ax.axvline(1 + m if name == "delay" else 1, color=color, linestyle=":", linewidth=1.4)
        ax.set(xlabel=label, ylabel="slowdown, tuned")
        ax.legend(loc="upper left")
    context.save(fig, "delay")
