"""Measured knees of batch and delay beside the estimate, where nothing is known exactly."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.interpolate

import jcollab as jc
from experiments.contract import Claim, Context, Row, between
from experiments.critical_params._tuning import Problem, tune
from jcollab import noise_scale, plots

# the exact slowdown by tau / (1 + M), T2: of M = 99 up to 2, of M = 9 beyond
RATIOS = np.log([0.01, 0.03, 0.1, 0.3, 1, 2, 3, 10, 20])
SLOWDOWNS = np.log([1.00996, 1.02958, 1.09587, 1.27127, 1.81338, 2.51427, 3.2446, 7.70344, 13.7054])
CURVE = scipy.interpolate.PchipInterpolator(RATIOS, SLOWDOWNS)


def measure(
    problem: Problem,
    batches: tuple[int, ...],
    delays: tuple[int, ...],
    guess: float,
    seeds: jax.Array,
    context: Context,
) -> list[Row]:
    """Tuned steps for every batch and every delay, and the estimate at the target."""
    log, rows, models = context.log(), [], None
    cases = [("batch", b) for b in sorted({1, *batches})]
    cases += [("delay", tau) for tau in sorted({0, *delays})]
    rates = {"batch": guess}
    for kind, size in context.cases(cases, description=problem.name):
        if (kind, size) == ("delay", 0):
            rows.append(rows[0] | {"kind": "delay", "size": 0})
            rates["delay"] = rows[0]["learning_rate"] or guess
            continue
        n, b = (1, size) if kind == "batch" else (size + 1, 1)
        build = functools.partial(_algorithm, problem.loss, n)
        found = tune(problem, build, rates[kind], seeds, context, n=n, batch=b)
        rows.append({"problem": problem.name, "kind": kind, "size": size} | found.row)
        log.write(rows[-1])
        rates[kind] = rows[-1]["learning_rate"] or rates[kind]
        if (kind, size) == ("batch", 1):
            models = found.params
    if models is not None and not context.stop.is_set():
        rows.append(estimate(problem, models) | {"problem": problem.name})
        log.write(rows[-1])
    return rows


def _algorithm(loss: Any, n: int, rate: Any) -> jc.Algorithm:
    """SGD, or n equal clients in turn, whose gradients are n - 1 steps old."""
    if n == 1:
        return jc.centralized(loss, optax.sgd(rate))
    return jc.asynchronous(loss, optax.sgd(rate), jnp.arange(n))


def estimate(problem: Problem, models: Any) -> Row:
    """Noise, signal and smoothness, means over models ``[S, ...]`` at the target.

    The critical parameter at suboptimality ``f - f*`` is ``E|xi|^2 / (2 L (f - f*))``, since the
    squared gradient is at most ``2 L (f - f*)``; ``pointwise`` is ``E|xi|^2 / |grad f|^2``.
    """
    examples = jax.tree.map(jnp.asarray, problem.examples)

    @jax.jit
    def at(model: Any) -> tuple:
        found = noise_scale.per_sample(problem.loss, model, examples)
        largest = noise_scale.smoothness(
            problem.loss, model, examples, jax.random.key(0), iterations=20
        )
        return found.noise, found.signal, largest

    count = min(4, len(jax.tree.leaves(models)[0]))
    each = [at(jax.tree.map(lambda leaf: leaf[i], models)) for i in range(count)]  # noqa: B023
    noise, signal, largest = np.array(each, float).mean(0)
    return {
        "kind": "estimate",
        "noise": noise,
        "signal": signal,
        "smoothness": largest,
        "estimated": noise_scale.critical(0.0, noise, 2 * largest * problem.target),
        "pointwise": noise / signal,
    }


def slowdown(ratio: Any) -> np.ndarray:
    """The exact slowdown at ``tau / (1 + M)``, between 0 and far beyond the knee."""
    log = np.log(np.maximum(ratio, 1e-9))
    low = 1 + np.exp(log - RATIOS[0]) * np.expm1(SLOWDOWNS[0])  # linear near 0
    high = SLOWDOWNS[-1] + np.maximum(log - RATIOS[-1], 0)  # and far out
    inside = np.where(log > RATIOS[-1], high, CURVE(np.clip(log, RATIOS[0], RATIOS[-1])))
    return np.where(log < RATIOS[0], low, np.exp(inside))


def fit_batch(batches: Any, steps: Any) -> float:
    """C of ``T(b) = T_inf (1 + C/b)``, by least squares of logarithms."""
    grid = np.geomspace(0.05, 1e6, 2000)
    return _fit(grid, np.log1p(grid[:, None] / np.asarray(batches, float)), steps)


def fit_delay(delays: Any, steps: Any) -> float:
    """C of ``T(tau) = T(0) slowdown(tau / (1 + C))``, by least squares of logarithms."""
    grid, tau = np.geomspace(0.05, 1e6, 1000), np.asarray(delays, float)
    curves = [np.where(tau > 0, slowdown(tau / (1 + c)), 1.0) for c in grid]
    return _fit(grid, np.log(curves), steps)


def _fit(grid: np.ndarray, curves: np.ndarray, steps: Any) -> float:
    return float(grid[np.argmin((np.log(np.asarray(steps, float)) - curves).var(1))])


def knees(rows: list[Row]) -> list[Row]:
    """For every problem, the measured knees beside the estimate."""
    found = []
    for problem in dict.fromkeys(r["problem"] for r in rows):
        line: Row = {"problem": problem}
        for kind, fit in (("batch", fit_batch), ("delay", fit_delay)):
            reached = _reached(rows, problem, kind)
            if len(reached) >= 3:
                line[f"{kind}_knee"] = fit(*_sizes_and_steps(reached))
        for row in rows:
            if (row["problem"], row["kind"]) == (problem, "estimate"):
                line |= {k: row[k] for k in ("estimated", "pointwise", "smoothness")}
        found.append(line)
    return found


def _reached(rows: list[Row], problem: str, kind: str) -> list[Row]:
    return [r for r in rows if (r["problem"], r["kind"]) == (problem, kind) and r["steps"]]


def _sizes_and_steps(rows: list[Row]) -> np.ndarray:
    return np.array([(r["size"], r["steps"]) for r in rows], float).T


def claims(config: Any, rows: list[Row]) -> list[Claim]:
    """Every estimate within a factor of 2 of the measured knees."""
    found = []
    for line in knees(rows):
        for kind in ("batch", "delay"):
            if f"{kind}_knee" in line and "estimated" in line:
                knee = line[f"{kind}_knee"]
                claim = (
                    f"{line['problem']}: estimated critical parameter over the measured "
                    f"{kind} ({knee:.3g})"
                )
                found.append(between(claim, line["estimated"] / knee, 0.5, 2))
    return found


def shown(config: Any, rows: list[Row]) -> list[Row]:
    """Tuned steps, and the learning rate that the estimate would have suggested."""
    lines = []
    estimates = {r["problem"]: r["estimated"] for r in rows if r["kind"] == "estimate"}
    for row in rows:
        if row["kind"] == "estimate" or not row["steps"]:
            continue
        problem, kind, size = row["problem"], row["kind"], row["size"]
        base = next(r for r in rows if (r["problem"], r["kind"]) == (problem, kind))
        line = {k: row[k] for k in ("problem", "kind", "size", "steps", "learning_rate")}
        line["speed_up"] = base["steps"] / row["steps"] if base["steps"] else None
        if problem in estimates and base["learning_rate"]:
            line["suggested"] = noise_scale.suggest_learning_rate(
                *((size, 0) if kind == "batch" else (1, size)),
                critical=estimates[problem],
                base=base["learning_rate"],
            )
        lines.append(line)
    return lines


def figure(rows: list[Row]) -> Any:
    """Speed-up against the batch, slowdown against the delay, measured and estimated knees."""
    lines = knees(rows)
    fig = plots.figure(figsize=(4.8 * len(lines), 7))
    axes = fig.subplots(2, len(lines), squeeze=False)
    for (top, bottom), line in zip(axes.T, lines, strict=True):
        _gains(top, "batch", rows, line)
        _gains(bottom, "delay", rows, line)
        top.set(title=line["problem"].replace("_", " "), xlabel="batch $b$")
        bottom.set(xlabel=r"delay $\tau$")
    axes[0, 0].set_ylabel("speed-up in steps")
    axes[1, 0].set_ylabel("slowdown")
    return fig


def _gains(ax: Any, kind: str, rows: list[Row], line: Row) -> None:
    """One panel: what was measured, its fit, and the prediction of the estimate."""
    reached = _reached(rows, line["problem"], kind)
    if not any(r["size"] for r in reached):
        return
    size, steps = _sizes_and_steps(reached)
    gain = steps[0] / steps if kind == "batch" else steps / steps[0]
    gain, size = gain[size > 0], size[size > 0]
    ax.plot(size, gain, "o", color=plots.COLORS[0], label="measured")
    dense = np.geomspace(max(size.min(), 1), size.max() * 1.3, 100)
    for name, key, color, dash in (
        ("fit", f"{kind}_knee", plots.COLORS[0], "-"),
        ("predicted", "estimated", plots.COLORS[1], "--"),
    ):
        if key not in line:
            continue
        c = line[key]
        curve = dense * (1 + c) / (dense + c) if kind == "batch" else slowdown(dense / (1 + c))
        ax.plot(dense, curve, dash, color=color, linewidth=1.6, label=f"{name}, C = {c:.3g}")
        ax.axvline(c if kind == "batch" else 1 + c, color=color, linestyle=":", linewidth=1.2)
    ax.set(xscale="log", yscale="log")
    if kind == "delay":
        most = ax.get_ylim()[1]
        ticks = [t for t in (1, 1.5, 2, 3, 4, 6, 8, 12, 16) if t <= most]
        ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_xticks(size, [f"{t:g}" for t in size])
        ax.minorticks_off()
    ax.legend(fontsize=9, loc="upper left")
