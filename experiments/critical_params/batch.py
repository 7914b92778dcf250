"""Speed-up against the batch, and its knee at the ratio of noise to signal.

Critical parameters, arXiv 2103.02351; tables T1, T1b and T3 are derived in this repository.

    python -m experiments critical_params batch

T1, T1b, T3: speed-up against the batch, every batch tuned, exact and Monte Carlo.
Cost: half a minute on 2 cores.
Expected: linear up to the noise-to-signal ratio, then flat.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row, between, check
from experiments.critical_params._moments import monte_carlo, within, within_errors
from jcollab import plots, second_moments

# the recorded tables: speed-ups (T1, T1b spiked) and steps (T1b, T3) by batch
ROUNDED = {
    ("T1", "M=9", "speed_up"): {1: 1, 8: 4.706, 64: 8.767},
    ("T1", "M=99", "speed_up"): {1: 1, 16: 13.91, 128: 56.39},
    ("T1b", "log-spaced", "steps"): {
        1: 2848, 2: 1472, 4: 783, 8: 441.7, 16: 278.4, 32: 207.1, 64: 183.4, 128: 179.5,
        4096: 175.9,
    },
    ("T1b", "spiked", "speed_up"): {
        1: 1, 2: 1.80, 4: 2.94, 8: 4.23, 16: 5.35, 32: 6.13, 64: 6.57, 128: 6.81, 4096: 6.99,
    },
    ("T3", "M=9", "steps"): {
        1: 221.6, 8: 27.90, 32: 7.115, 64: 3.663, 128: 2.110, 256: 1.498, 1024: 0.992,
    },
    ("T3", "M=99", "steps"): {
        1: 585.4, 8: 74.59, 32: 19.86, 64: 10.74, 128: 6.173, 256: 3.852, 1024: 1.934,
    },
}  # fmt: skip
GRID = np.geomspace(1e-3, 2, 400)  # learning rates of the recorded T1b
MONTE_CARLO = ((8, 1), (8, 4), (20, 5))  # dimension and batch


@dataclasses.dataclass(frozen=True)
class Config:
    """Which problems and batches are tuned."""

    noise_ratios: tuple[float, ...] = (9.0, 99.0)  # values of M
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)  # values of b
    condition: float = 50.0  # of the least-squares problems of T1b
    accuracy: float = 0.01  # eps of T3, whose sigma^2 is 1
    runs: int = 20_000  # Monte Carlo runs of T1
    steps: int = 6  # of a Monte Carlo run
    monte_carlo: int = 3  # how many of the three recorded cases are run
    seed: int = 0  # of the Monte Carlo

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check(self, "runs steps batches condition", at_least=1)
        check(self, "noise_ratios", at_least=0)
        check(self, "accuracy", above=0, below=1)


PRESETS = {"batch": Config()}
SMOKE = {"batch": {"batches": (1, 8, 64), "runs": 50, "monte_carlo": 1, "noise_ratios": (9.0,)}}


def spectra(condition: float) -> dict[str, np.ndarray]:
    """Eigenvalues of the problems of T1b."""
    return {
        "log-spaced": np.geomspace(1, 1 / condition, 50),
        "spiked": np.r_[1.0, np.full(49, 1 / condition)],
    }


def run(config: Config, context: Context) -> list[Row]:
    """Tuned steps for every problem and batch, then the Monte Carlo."""
    rows = exact(config)
    for d, b in context.cases(MONTE_CARLO[: config.monte_carlo]):
        # mini-batch SGD on Gaussian least squares, M = d + 1
        rate = second_moments.tuned(d + 1, batch_size=b).learning_rate
        (found,) = monte_carlo(
            jc.centralized(jc.data.regression_loss, optax.sgd(rate)),
            jc.data.gaussian_regression(np.ones(d)),
            d,
            n=1,
            batch=b,
            times=(config.steps,),
            exact=second_moments.delayed_moments(
                rate, config.steps, noise_ratio=d + 1, batch_size=b
            ),
            config=config,
        )
        del found["time"]
        rows.append({"table": "T1", "problem": f"Monte Carlo d={d}", "batch": b} | found)
    for row in rows:
        context.log().write(row)
    return rows


def exact(config: Config) -> list[Row]:
    """Tuned steps for every problem and batch."""
    sizes = sorted({1, *config.batches})
    found = {}  # by table and problem: the predicted knee, and steps by batch
    for m in config.noise_ratios:
        # steps per factor e at a small rate: 1 / gamma
        found["T1", f"M={m:g}"] = m, [1 + m / b for b in sizes]
    for name, values in spectra(config.condition).items():
        best = [second_moments.tuned_gaussian(values, batch_size=b, grid=GRID) for b in sizes]
        found["T1b", name] = jc.wall_clock.noise_ratio(values), [one.steps for one in best]
    for m in config.noise_ratios:
        best = [second_moments.tuned_additive(m, 1.0, config.accuracy, batch_size=b) for b in sizes]
        found["T3", f"M={m:g}"] = m + 1 / config.accuracy, [one.steps for one in best]
    return [
        {
            "table": table,
            "problem": problem,
            "batch": b,
            "steps": taken,
            "speed_up": steps[0] / taken if taken else None,
            "knee": knee,
        }
        for (table, problem), (knee, steps) in found.items()
        for b, taken in zip(sizes, steps, strict=True)
    ]


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """The recorded tables to 1 %, the Monte Carlo to 3 standard errors, the knees."""
    found = []
    recorded = ROUNDED if (config.condition, config.accuracy) == (50, 0.01) else {}
    for (table, problem, name), values in recorded.items():
        own = {r["batch"]: r[name] for r in _of(rows, table, problem)}
        off = [own[b] / value - 1 for b, value in values.items() if b in own]
        if off:
            worst = max(off, key=abs)
            claim = f"{table}, {problem}: the recorded {name.replace('_', '-').rstrip('s')}s"
            found.append(within(claim, worst, 0.01, f"{worst:+.2%}"))
    for row in rows:
        if "measured" in row:
            claim = f"T1, {row['problem']}, b={row['batch']}: Monte Carlo of the second moment"
            off = row["measured"] - row["exact"]
            found.append(within_errors(claim, off, row["standard_error"]))
    for problem in spectra(config.condition):
        own = _of(rows, "T1b", problem)
        ratio = own[-1]["speed_up"] / (1 + own[0]["knee"])
        claim = f"T1b, {problem}: largest speed-up over the predicted 1 + M"
        found.append(between(claim, ratio, 1 / 2.5, 2.5))
    return found


def shown(config: Config, rows: list[Row]) -> list[Row]:
    """Speed-ups, a line for each batch."""
    lines: dict[int, Row] = {}
    for row in rows:
        if row.get("speed_up") is not None:
            line = lines.setdefault(row["batch"], {"batch": row["batch"]})
            line[f"{row['table']} {row['problem']}"] = row["speed_up"]
    return list(lines.values())


def _of(rows: list[Row], table: str, problem: str) -> list[Row]:
    own = [r for r in rows if (r["table"], r["problem"]) == (table, problem)]
    return sorted(own, key=lambda r: r["batch"])


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Speed-ups of each table, and the knees."""
    titles = {
        "T1": "multiplicative noise",
        "T1b": f"least squares, condition {config.condition:g}",
        "T3": f"additive noise too, $\\epsilon$ = {config.accuracy:g}",
    }
    fig = plots.figure(figsize=(12.5, 4))
    for ax, (table, title) in zip(fig.subplots(1, 3), titles.items(), strict=True):
        _speed_ups(ax, table, rows)
        ax.set(title=title, xlabel="batch $b$")
        ax.legend(fontsize=9, loc="upper left")
    fig.axes[0].set_ylabel("speed-up in steps")
    fig.axes[0].annotate(
        "dotted: predicted knee", (0.97, 0.04), xycoords="axes fraction", ha="right", fontsize=9
    )
    context.save(fig, "batch")


def _speed_ups(ax: Any, table: str, rows: list[Row]) -> None:
    problems = dict.fromkeys(r["problem"] for r in rows if r["table"] == table)
    top = 1.0
    for problem, color in zip(problems, plots.COLORS * 2, strict=False):
        own = [r for r in _of(rows, table, problem) if r.get("speed_up")]
        if not own:
            continue
        x, y = [r["batch"] for r in own], [r["speed_up"] for r in own]
        top = max(top, *y)
        ax.loglog(x, y, "o-", color=color, label=problem.replace("=", " = "), markersize=4)
        ax.axvline(own[0]["knee"], color=color, linestyle=":", linewidth=1.4)
    limit = np.array([1, 2 * top])
    ax.loglog(limit, limit, color="0.6", linewidth=1, label="linear", zorder=0)
    ax.set(ylim=(0.8, 2 * top))
