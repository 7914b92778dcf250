"""Large batches: the exact speed-up, its knee, and a Monte Carlo of the library's own SGD."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params.kinds import Batch
from jcollab import plots, second_moments

# the recorded tables: speed-ups (T1, T1b spiked) and steps (T1b, T3) by batch
ROUNDED = {
    ("T1", "M=9"): {1: 1, 8: 4.706, 64: 8.767},
    ("T1", "M=99"): {1: 1, 16: 13.91, 128: 56.39},
    ("T1b", "log-spaced"): {
        1: 2848, 2: 1472, 4: 783, 8: 441.7, 16: 278.4, 32: 207.1, 64: 183.4, 128: 179.5,
        4096: 175.9,
    },
    ("T1b", "spiked"): {
        1: 1, 2: 1.80, 4: 2.94, 8: 4.23, 16: 5.35, 32: 6.13, 64: 6.57, 128: 6.81, 4096: 6.99,
    },
    ("T3", "M=9"): {
        1: 221.6, 8: 27.90, 32: 7.115, 64: 3.663, 128: 2.110, 256: 1.498, 1024: 0.992,
    },
    ("T3", "M=99"): {
        1: 585.4, 8: 74.59, 32: 19.86, 64: 10.74, 128: 6.173, 256: 3.852, 1024: 1.934,
    },
}  # fmt: skip
IN_SPEED_UPS = {("T1", "M=9"), ("T1", "M=99"), ("T1b", "spiked")}
GRID = np.geomspace(1e-3, 2, 400)  # learning rates of the recorded T1b
MONTE_CARLO = ((8, 1), (8, 4), (20, 5))  # dimension and batch


def spectra(condition: float) -> dict[str, np.ndarray]:
    """Eigenvalues of the problems of T1b."""
    return {
        "log-spaced": np.geomspace(1, 1 / condition, 50),
        "spiked": np.r_[1.0, np.full(49, 1 / condition)],
    }


def run(config: Batch, context: Context) -> list[Row]:
    """Tuned steps for every problem and batch, then the Monte Carlo."""
    rows = exact(config)
    for d, b in MONTE_CARLO[: config.monte_carlo]:
        if context.stop.is_set():
            return rows
        rows.append(monte_carlo(d, b, config))
    for row in rows:
        context.log().write(row)
    context.save(_figure(config, rows), "batch")
    return rows


def exact(config: Batch) -> list[Row]:
    """Tuned steps for every problem and batch."""
    rows: list[Row] = []

    def add(table: str, problem: str, knee: float, steps: dict[int, float]) -> None:
        first = steps[min(steps)]
        for b, taken in steps.items():
            row = {
                "table": table, "problem": problem, "batch": b, "steps": taken,
                "speed_up": first / taken if taken else None, "knee": knee,
            }  # fmt: skip
            rows.append(row)

    sizes = sorted({1, *config.batches})
    for m in config.noise_ratios:
        # steps per factor e at a small rate: 1 / gamma
        add("T1", f"M={m:g}", m, {b: 1 + m / b for b in sizes})
    for name, values in spectra(config.condition).items():
        found = {
            b: second_moments.tuned_gaussian(values, batch_size=b, grid=GRID).steps for b in sizes
        }
        add("T1b", name, jc.wall_clock.noise_ratio(values), found)
    for m in config.noise_ratios:
        found = {
            b: second_moments.tuned_additive(m, 1.0, config.accuracy, batch_size=b).steps
            for b in sizes
        }
        add("T3", f"M={m:g}", m + 1 / config.accuracy, found)
    return rows


def monte_carlo(d: int, b: int, config: Batch) -> Row:
    """Rate per step of mini-batch SGD on Gaussian least squares, M = d + 1."""
    problem = jc.data.gaussian_regression(np.ones(d))
    rate = second_moments.tuned(d + 1, batch_size=b).learning_rate
    algorithm = jc.centralized(jc.data.regression_loss, optax.sgd(rate))
    sample = jc.data.regression_samples(b)

    def final(key: jax.Array) -> jax.Array:
        state = algorithm.init(key, jnp.ones((1, d)) / np.sqrt(d))
        state, _ = jc.run(algorithm, state, problem, key, num_rounds=config.steps, sample=sample)
        return jnp.sum(jc.params_of(state) ** 2)

    keys = jax.random.split(jax.random.key(config.seed), config.runs)
    values = np.asarray(jax.jit(jc.layout.per_replica(final))(keys), float)
    exact = second_moments.delayed_moments(rate, config.steps, noise_ratio=d + 1, batch_size=b)[-1]
    return {
        "table": "T1", "problem": f"Monte Carlo d={d}", "batch": b, "exact": float(exact),
        "measured": float(values.mean()),
        "standard_error": float(values.std() / np.sqrt(len(values))),
    }  # fmt: skip


def claims(config: Batch, rows: list[Row]) -> list[Claim]:
    """The recorded tables to 1 %, the Monte Carlo to 3 standard errors, the knees."""
    found = []
    if config.condition == 50 and config.accuracy == 0.01:
        for (table, problem), values in ROUNDED.items():
            name = "speed_up" if (table, problem) in IN_SPEED_UPS else "steps"
            own = {r["batch"]: r[name] for r in _of(rows, table, problem)}
            off = [own[b] / value - 1 for b, value in values.items() if b in own]
            if off:
                worst = max(off, key=abs)
                found.append(
                    Claim(f"{table}, {problem}: the recorded {name.replace('_', '-').rstrip('s')}s",
                          "within 1%", f"{worst:+.2%}", abs(worst) <= 0.01)
                )  # fmt: skip
    for row in rows:
        if "measured" in row:
            errors = (row["measured"] - row["exact"]) / row["standard_error"]
            claim = f"T1, {row['problem']}, b={row['batch']}: Monte Carlo of the second moment"
            found.append(Claim(claim, "within 3 s.e.", f"{errors:+.1f}", abs(errors) <= 3))
    for problem in spectra(config.condition):
        own = _of(rows, "T1b", problem)
        ratio = own[-1]["speed_up"] / (1 + own[0]["knee"])
        claim = f"T1b, {problem}: largest speed-up over the predicted 1 + M"
        found.append(Claim(claim, "between 1/2.5 and 2.5", ratio, 1 / 2.5 <= ratio <= 2.5))
    return found


def shown(config: Batch, rows: list[Row]) -> list[Row]:
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


@plots.style()
def _figure(config: Batch, rows: list[Row]) -> Any:
    titles = {
        "T1": "multiplicative noise",
        "T1b": f"least squares, condition {config.condition:g}",
        "T3": f"additive noise too, $\\epsilon$ = {config.accuracy:g}",
    }
    fig = plots.figure(figsize=(12.5, 4))
    for ax, (table, title) in zip(fig.subplots(1, 3), titles.items(), strict=True):
        problems = list(dict.fromkeys(r["problem"] for r in rows if r["table"] == table))
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
        ax.set(title=title, xlabel="batch $b$", ylim=(0.8, 2 * top))
        ax.legend(fontsize=9, loc="upper left")
    fig.axes[0].set_ylabel("speed-up in steps")
    fig.axes[0].annotate(
        "dotted: predicted knee", (0.97, 0.04), xycoords="axes fraction", ha="right", fontsize=9
    )
    return fig
