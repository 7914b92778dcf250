"""Speed-up against the batch, and its knee at the ratio of noise to signal.

Critical parameters, arXiv 2103.02351; tables T1, T1b and T3 are derived in this repository.

    python -m experiments critical_params batch

T1, T1b, T3: speed-up against the batch, every batch tuned, exact and Monte Carlo.
Cost: half a minute on 2 cores.
Expected: linear up to the noise-to-signal ratio, then flat.
"""

from typing import Annotated

import numpy as np

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, between, columns, pivot, within
from experiments.critical_params._common import monte_carlo, within_errors
from experiments.fields import Bound, Count, Fraction, NonNegative, Settings
from jcollab import plots
from jcollab.theory import second_moments

# recorded tables: batches, and a column for each problem
ALL, SOME = (1, 2, 4, 8, 16, 32, 64, 128, 4096), (1, 8, 32, 64, 128, 256, 1024)
RECORDED = {
    ("T1", "M=9", "speed_up"): ((1, 8, 64), (1, 4.706, 8.767)),
    ("T1", "M=99", "speed_up"): ((1, 16, 128), (1, 13.91, 56.39)),
    ("T1b", "log-spaced", "steps"): (
        ALL,
        (2848, 1472, 783, 441.7, 278.4, 207.1, 183.4, 179.5, 175.9),
    ),
    ("T1b", "spiked", "speed_up"): (ALL, (1, 1.8, 2.94, 4.23, 5.35, 6.13, 6.57, 6.81, 6.99)),
    ("T3", "M=9", "steps"): (SOME, (221.6, 27.9, 7.115, 3.663, 2.11, 1.498, 0.992)),
    ("T3", "M=99", "steps"): (SOME, (585.4, 74.59, 19.86, 10.74, 6.173, 3.852, 1.934)),
}
SPECTRA = ("log-spaced", "spiked")  # of the eigenvalues of T1b
GRID = np.geomspace(1e-3, 2, 400)  # learning rates of the recorded T1b
MONTE_CARLO = ((8, 1), (8, 4), (20, 5))  # dimension and batch


class Config(Settings):
    """Problems and batches."""

    noise_ratios: tuple[NonNegative, ...] = (9.0, 99.0)  # values of M
    batches: tuple[Count, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)  # values of b
    condition: Annotated[float, Bound(at_least=1)] = 50.0  # of the least-squares problems of T1b
    accuracy: Fraction = 0.01  # eps of T3, whose sigma^2 is 1
    runs: Count = 20_000  # Monte Carlo runs of T1
    steps: Count = 6  # of a Monte Carlo run
    monte_carlo: int = 3  # number of recorded cases to run, at most three
    seed: int = 0  # of the Monte Carlo


PRESETS = {"batch": Config()}
SMOKE = {"batch": {"batches": (1, 8, 64), "runs": 50, "monte_carlo": 1, "noise_ratios": (9.0,)}}


def run(config: Config, context: Context) -> Rows:
    """Computes tuned steps, then runs mini-batch SGD on Gaussian least squares."""
    yield from exact(config)
    for d, b in context.cases(MONTE_CARLO[: config.monte_carlo]):
        rate = second_moments.tuned(d + 1, batch_size=b).learning_rate
        (simulated,) = monte_carlo(config, d, rate, (config.steps,), b)
        del simulated["time"]
        yield {"table": "T1", "problem": f"Monte Carlo d={d}", "batch": b} | simulated


def exact(config: Config) -> list[Row]:
    """Computes tuned steps for every problem and batch."""
    rows: list[Row] = []
    sizes, eps = sorted({1, *config.batches}), config.accuracy
    few = np.full(49, 1 / config.condition)

    def add(table: str, problem: str, knee: float, steps: list[float]) -> None:
        for b, taken in zip(sizes, steps, strict=True):
            row = {"table": table, "problem": problem, "batch": b, "steps": taken, "knee": knee}
            rows.append(row | {"speed_up": steps[0] / taken if taken else None})

    for m in config.noise_ratios:
        # steps per factor e at a small rate: 1 / gamma
        add("T1", f"M={m:g}", m, [1 + m / b for b in sizes])
    for name, values in zip(SPECTRA, (np.geomspace(1, few[0], 50), np.r_[1.0, few]), strict=True):
        best = [second_moments.tuned_gaussian(values, batch_size=b, grid=GRID) for b in sizes]
        add("T1b", name, jc.theory.wall_clock.noise_ratio(values), [one.steps for one in best])
    for m in config.noise_ratios:
        best = [second_moments.tuned_additive(m, 1.0, eps, batch_size=b) for b in sizes]
        add("T3", f"M={m:g}", m + 1 / eps, [one.steps for one in best])
    return rows


def claims(config: Config, rows: list[Row]) -> Claims:
    """Tables agree to 1 %, Monte Carlo to 3 standard errors, and knees are as predicted."""
    recorded = RECORDED if (config.condition, config.accuracy) == (50, 0.01) else {}
    for (table, problem, name), (batches, values) in recorded.items():
        own = {r["batch"]: r[name] for r in _of(rows, table, problem)}
        off = [own[b] / v - 1 for b, v in zip(batches, values, strict=True) if b in own]
        if off:
            worst = max(off, key=abs)
            claim = f"{table}, {problem}: the recorded {name.replace('_', '-').rstrip('s')}s"
            yield within(claim, worst, 0.01)
    claim = "T1, {problem}, b={batch}: Monte Carlo of the second moment"
    yield from [within_errors(claim.format(**row), row) for row in rows if "measured" in row]
    for problem in SPECTRA:
        last = _of(rows, "T1b", problem)[-1]
        claim = f"T1b, {problem}: largest speed-up over the predicted 1 + M"
        yield between(claim, last["speed_up"] / (1 + last["knee"]), 1 / 2.5, 2.5)


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Returns speed-ups, a line for each batch."""
    exact = [r | {"of": "{table} {problem}".format(**r)} for r in rows if r.get("speed_up")]
    return pivot(exact, "batch", "of", "speed_up")


def _of(rows: list[Row], table: str, problem: str) -> list[Row]:
    return [r for r in rows if (r["table"], r["problem"]) == (table, problem)]


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Speed-ups of each table, and the predicted knees."""
    titles = ("multiplicative noise", "least squares", "additive noise too")
    fig, panels = plots.subplots(1, 3, figsize=(12.5, 4))
    for ax, table, title in zip(panels, ("T1", "T1b", "T3"), titles, strict=True):
        own = [r for r in rows if r["table"] == table and r.get("speed_up")]
        for problem, color in zip({r["problem"]: 0 for r in own}, plots.COLORS, strict=False):
            sizes, gains, knees = columns(_of(own, table, problem), "batch speed_up knee")
            ax.loglog(sizes, gains, "o-", color=color, label=problem, markersize=4)
            ax.axvline(knees[0], color=color, linestyle=":", linewidth=1.4)
        top = 2 * max((r["speed_up"] for r in own), default=1)
        ax.loglog([1, top], [1, top], color="0.6", linewidth=1, label="linear", zorder=0)
        ax.set(title=title, xlabel="batch $b$ (dotted: predicted knee)", ylim=(0.8, top))
        ax.legend(fontsize=9, loc="upper left")
    fig.axes[0].set_ylabel("speed-up in steps")
    context.save(fig, "batch")
