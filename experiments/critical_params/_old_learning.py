"""What the experiments on real data share: measured knees of batch and delay, and estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params.steps import Task, fit_batch, fit_delay, slowdown, tune
from jcollab import noise_scale, plots


class Problem(NamedTuple):
    """A loss to bring down from a start to a target.

    Attributes:
        name: for rows and figures.
        loss: ``loss(params, batch, key)`` of one client.
        examples: a Dataset.
        start: a model.
        lowest: f*, or 0.
        target: of ``f - f*``.
        judged: how many examples ``f`` is taken over while runs go on.
        max_steps: where runs end.
        width: learning rates tried at a time.
    """

    name: str
    loss: Callable
    examples: Any
    start: Any
    lowest: float
    target: float
    judged: int
    max_steps: int
    width: int = 7


def measure(
    problem: Problem,
    batches: tuple[int, ...],
    delays: tuple[int, ...],
    guess: float,
    seeds: jax.Array,
    context: Context,
) -> tuple[list[Row], Any]:
    """Tuned steps for every batch and every delay, and the estimate at the target.

    Returns:
        Rows, and the models of batch 1 at the target ``[S, ...]`` (None if it was not reached).
    """
    examples = jax.tree.map(jnp.asarray, problem.examples)
    total = len(problem.examples.y)
    shuffled = np.random.default_rng(0).permutation(total)[: problem.judged]
    judged = jax.tree.map(lambda leaf: leaf[shuffled], examples)
    data = jc.data.client_data(problem.examples, [np.arange(total)])

    def value(params: Any) -> Any:
        said = problem.loss(params, judged, jax.random.key(0))
        return (said[0] if isinstance(said, tuple) else said) - problem.lowest

    def gap(params: Any) -> Any:
        return value(jax.tree.map(lambda leaf: leaf[0], params))

    rows: list[Row] = []
    reached = None

    def search(kind: str, size: int, build: Callable, n: int, b: int, guess: float) -> float:
        nonlocal reached
        task = Task(
            build, jc.replicate(problem.start, n), data, jc.data.minibatches(b), gap,
            problem.target, problem.max_steps, problem.width,
        )  # fmt: skip
        found = tune(task, guess, seeds, context)
        if kind == "batch" and size == 1:
            reached = found.params
        row = {
            "problem": problem.name, "kind": kind, "size": size,
            "steps": found.steps if np.isfinite(found.steps) else None,
            "learning_rate": None if np.isnan(found.learning_rate) else found.learning_rate,
        }  # fmt: skip
        rows.append(row)
        context.log().write(row)
        return guess if np.isnan(found.learning_rate) else found.learning_rate

    total_work = len({1, *batches}) + len(set(delays) - {0})
    bar = context.progress.add_task(problem.name, total=total_work)
    first = rate = guess
    for b in sorted({1, *batches}):
        if context.stop.is_set():
            return rows, reached
        rate = search("batch", b, lambda r: jc.centralized(problem.loss, optax.sgd(r)), 1, b, rate)
        first = rate if b == 1 else first
        context.progress.advance(bar)
    alone = next(r for r in rows if r["size"] == 1)
    rows.append(alone | {"kind": "delay", "size": 0})
    rate = first
    for tau in sorted(set(delays) - {0}):
        if context.stop.is_set():
            return rows, reached

        def build(r: Any, turns: Any = jnp.arange(tau + 1)) -> jc.Algorithm:  # noqa: B008
            return jc.asynchronous(problem.loss, optax.sgd(r), turns)

        rate = search("delay", tau, build, tau + 1, 1, rate)
        context.progress.advance(bar)
    if reached is not None:
        rows.append(estimate(problem, reached, examples) | {"problem": problem.name})
        context.log().write(rows[-1])
    return rows, reached


def estimate(problem: Problem, models: Any, examples: Any) -> Row:
    """Noise, signal and smoothness, means over models ``[S, ...]`` at the target.

    The critical parameter at suboptimality ``f - f*`` is ``E|xi|^2 / (2 L (f - f*))``, since the
    squared gradient is at most ``2 L (f - f*)``; ``pointwise`` is ``E|xi|^2 / |grad f|^2``.
    """

    @jax.jit
    def at(model: Any) -> tuple:
        found = noise_scale.per_sample(problem.loss, model, examples)
        largest = noise_scale.smoothness(
            problem.loss, model, examples, jax.random.key(0), iterations=20
        )
        return found.noise, found.signal, largest

    count = min(4, jax.tree.leaves(models)[0].shape[0])
    values = np.array(
        [at(jax.tree.map(lambda leaf: leaf[i], models)) for i in range(count)],  # noqa: B023
        float,
    )
    noise, signal, largest = values.mean(0)
    return {
        "kind": "estimate", "noise": noise, "signal": signal, "smoothness": largest,
        "estimated": noise_scale.critical(0.0, noise, 2 * largest * problem.target),
        "pointwise": noise / signal,
    }  # fmt: skip


def knees(rows: list[Row]) -> list[Row]:
    """For every problem, the measured knees beside the estimate."""
    found = []
    for problem in dict.fromkeys(r["problem"] for r in rows):
        own = [r for r in rows if r["problem"] == problem]
        line: Row = {"problem": problem}
        for kind, fit in (("batch", fit_batch), ("delay", fit_delay)):
            reached = [r for r in own if r["kind"] == kind and r["steps"]]
            if len(reached) >= 3:
                line[f"{kind}_knee"] = fit(
                    [r["size"] for r in reached], [r["steps"] for r in reached]
                )
        for row in own:
            if row["kind"] == "estimate":
                line |= {k: row[k] for k in ("estimated", "pointwise", "smoothness")}
        found.append(line)
    return found


def knee_claims(rows: list[Row]) -> list[Claim]:
    """Every measured knee against the estimate."""
    found = []
    for line in knees(rows):
        for kind in ("batch", "delay"):
            if f"{kind}_knee" in line and "estimated" in line:
                knee = line[f"{kind}_knee"]
                ratio = line["estimated"] / knee
                found.append(
                    Claim(
                        f"{line['problem']}: estimated critical parameter over the measured "
                        f"{kind} ({knee:.3g})",
                        "between 0.5 and 2", ratio, 0.5 <= ratio <= 2,
                    )
                )  # fmt: skip
    return found


def shown(rows: list[Row]) -> list[Row]:
    """Steps, and the learning rate that the estimate would have suggested."""
    lines = []
    estimates = {r["problem"]: r["estimated"] for r in rows if r["kind"] == "estimate"}
    for row in rows:
        if row["kind"] == "estimate" or not row["steps"]:
            continue
        own = [r for r in rows if r["problem"] == row["problem"] and r["kind"] == row["kind"]]
        base = own[0]
        line = {k: row[k] for k in ("problem", "kind", "size", "steps", "learning_rate")}
        line["speed_up"] = base["steps"] / row["steps"] if base["steps"] else None
        if row["problem"] in estimates and base["learning_rate"]:
            sizes = (row["size"], 0) if row["kind"] == "batch" else (1, row["size"])
            line["suggested"] = float(
                noise_scale.suggest_learning_rate(
                    *sizes, critical=estimates[row["problem"]], base=base["learning_rate"]
                )
            )
        lines.append(line)
    return lines


@plots.style()
def figure(rows: list[Row]) -> Any:
    """Speed-up against the batch, slowdown against the delay, measured and estimated knees."""
    lines = knees(rows)
    fig = plots.figure(figsize=(4.8 * len(lines), 7))
    axes = fig.subplots(2, len(lines), squeeze=False)
    for column, line in enumerate(lines):
        own = [r for r in rows if r["problem"] == line["problem"]]
        for ax, kind in zip(axes[:, column], ("batch", "delay"), strict=True):
            reached = [r for r in own if r["kind"] == kind and r["steps"]]
            if not any(r["size"] for r in reached):
                continue
            size = np.array([r["size"] for r in reached], float)
            steps = np.array([r["steps"] for r in reached], float)
            gain = steps[0] / steps if kind == "batch" else steps / steps[0]
            shown = size > 0
            ax.plot(size[shown], gain[shown], "o", color=plots.COLORS[0], label="measured")
            dense = np.geomspace(max(size[shown].min(), 1), size.max() * 1.3, 100)
            for name, key, color in (
                ("fit", f"{kind}_knee", plots.COLORS[0]),
                ("predicted", "estimated", plots.COLORS[1]),
            ):
                if key not in line:
                    continue
                c = line[key]
                curve = (
                    dense * (1 + c) / (dense + c) if kind == "batch" else slowdown(dense / (1 + c))
                )
                dash = "-" if name == "fit" else "--"
                ax.plot(
                    dense, curve, dash, color=color, linewidth=1.6, label=f"{name}, C = {c:.3g}"
                )
                ax.axvline(
                    c if kind == "batch" else 1 + c, color=color, linestyle=":", linewidth=1.2
                )
            ax.set(xscale="log", yscale="log")
            if kind == "delay":
                most = ax.get_ylim()[1]
                ticks = [t for t in (1, 1.5, 2, 3, 4, 6, 8, 12, 16) if t <= most]
                ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
                ax.set_xticks(size[shown], [f"{t:g}" for t in size[shown]])
                ax.minorticks_off()
            ax.legend(fontsize=9, loc="upper left")
        axes[0, column].set(title=line["problem"].replace("_", " "), xlabel="batch $b$")
        axes[1, column].set(xlabel=r"delay $\tau$")
    axes[0, 0].set_ylabel("speed-up in steps")
    axes[1, 0].set_ylabel("slowdown")
    return fig
