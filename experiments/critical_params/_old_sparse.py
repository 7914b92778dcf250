"""Sparse gradients: a delay is free where two updates seldom meet in a coordinate (T4)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params import learning
from experiments.critical_params.kinds import Sparse
from experiments.critical_params.logistic import minimum
from experiments.critical_params.steps import Task, fit_delay, slowdown, tune
from jcollab import plots, second_moments

# recorded for d = 100: (tau, d gamma / L) to E x_j^2 at t = d, 3d, 6d
RECORDED = {
    (10, 0.834): (0.398148, 0.0636, 0.00406),
    (100, 0.34): (0.550044, 0.178253, 0.033809),
}
REGULARIZATION = 1e-4
TARGET = 0.3
# without noise, delays that are uniform in 0..tau allow a learning rate of pi^2 / (2 tau) and a
# constant one of pi / (2 tau): they are as bad as a constant delay of tau / pi
EQUIVALENT = 1 / np.pi


def run(config: Sparse, context: Context) -> list[Row]:
    """The one-hot problem, then logistic regression of several densities."""
    rows = []
    for delay, rate in RECORDED:
        if context.stop.is_set():
            return rows
        rows += one_hot(config, delay, rate)
        for row in rows[-3:]:
            context.log().write(row)
    task = context.progress.add_task("logistic", total=len(config.densities) * len(config.delays))
    for density in config.densities:
        rows += hogwild(config, density, context, task)
        if context.stop.is_set():
            return rows
    context.save(_figure(config, rows), "sparse")
    return rows


def one_hot(config: Sparse, delay: int, rate: float) -> list[Row]:
    """``delay + 1`` equal clients in turn, gradients ``x_j e_j``: exact and by Monte Carlo."""
    d, n = config.dimension, delay + 1
    problem = jc.data.one_hot_regression(d)
    times = np.array([d, 3 * d, 6 * d])
    exact = second_moments.delayed_moments(rate / d, int(times[-1]), noise_ratio=d - 1, delay=delay)
    algorithm = jc.with_metrics(
        jc.asynchronous(jc.data.regression_loss, optax.sgd(rate), jnp.arange(n)),
        lambda state: {"square": jnp.mean(state.shared.params**2)},
    )
    sample = jc.data.regression_samples(1)

    def squares(key: jax.Array) -> jax.Array:
        state = algorithm.init(key, jnp.ones((n, d)))
        _, log = jc.run(algorithm, state, problem, key, num_rounds=int(times[-1]), sample=sample)
        return log["square"][times - 1]

    keys = jax.random.split(jax.random.key(config.seed), config.runs)
    values = np.asarray(jax.jit(jc.layout.per_replica(squares))(keys), float)
    return [
        {
            "problem": "one-hot", "delay": delay, "rate": rate, "time": int(t),
            "exact": float(exact[t]), "measured": float(values[:, i].mean()),
            "standard_error": float(values[:, i].std() / np.sqrt(len(values))),
        }
        for i, t in enumerate(times)
    ]  # fmt: skip


def draw(config: Sparse, density: float) -> jc.data.Dataset:
    """Positive features, as counts of words are, each not zero with probability ``density``.

    Their mean makes dense features agree on one direction, which leaves little noise over signal;
    labels are those of a linear function, so that noise vanishes with the loss.
    """
    rng = np.random.default_rng(config.seed)
    shape = (config.examples, config.features)
    x = np.abs(rng.normal(size=shape)) * (rng.random(shape) < density)
    x /= np.sqrt(density * config.features)
    score = x @ rng.normal(size=config.features)
    y = score > np.median(score)
    return jc.data.Dataset(x.astype(np.float32), y.astype(np.int32))


def loss(params: Any, batch: Any, key: Any) -> Any:
    """Binary logistic loss of ``w [d, 1]`` with l2."""
    del key
    fits = optax.sigmoid_binary_cross_entropy((batch.x @ params)[..., 0], batch.y)
    return fits.mean() + 0.5 * REGULARIZATION * jnp.sum(params**2)


def hogwild(config: Sparse, density: float, context: Context, bar: Any) -> list[Row]:
    """Tuned steps of SGD whose updates arrive coordinate by coordinate, up to ``delay`` late."""
    examples = draw(config, density)
    shape = (config.features, 1)
    lowest = minimum(loss, examples, shape)
    whole = jax.tree.map(jnp.asarray, examples)
    start = jnp.zeros(shape)
    target = TARGET * (float(loss(start, whole, None)) - lowest)
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    data = jc.data.client_data(examples, [np.arange(config.examples)])
    rows: list[Row] = []
    rate = 1.0
    for delay in sorted({0, *config.delays}):
        if context.stop.is_set():
            return rows
        late = jc.local.coordinate_delays(jax.random.key(config.seed), delay)

        def build(r: Any, late: Any = late) -> jc.Algorithm:
            return jc.centralized(loss, optax.chain(late, optax.sgd(r)))

        task = Task(
            build, start[None], data, jc.data.minibatches(1),
            lambda params: loss(params[0], whole, None) - lowest, target, config.max_steps,
        )  # fmt: skip
        found = tune(task, rate, seeds, context)
        rate = found.learning_rate if np.isfinite(found.learning_rate) else rate
        row: Row = {
            "problem": "logistic", "density": density, "delay": delay,
            "steps": found.steps if np.isfinite(found.steps) else None, "rate": rate,
        }  # fmt: skip
        if delay == 0 and found.params is not None:
            problem = learning.Problem("", loss, examples, start, lowest, target, 1, 1)
            row |= {
                k: v
                for k, v in learning.estimate(problem, found.params, whole).items()
                if k in ("estimated", "smoothness")
            }
        rows.append(row)
        context.log().write(row)
        context.progress.advance(bar)
    return rows


def claims(config: Sparse, rows: list[Row]) -> list[Claim]:
    """The recorded moments, the Monte Carlo, and knees that grow with sparsity."""
    found = []
    for row in rows:
        if row["problem"] != "one-hot":
            continue
        stored = RECORDED[row["delay"], row["rate"]]
        label = f"one-hot, tau={row['delay']}, t={row['time']}"
        if config.dimension == 100:
            value = stored[(100, 300, 600).index(row["time"])]
            off = row["exact"] / value - 1
            found.append(Claim(f"{label}: recorded E x_j^2", "within 1%", f"{off:+.2%}",
                               abs(off) <= 0.01))  # fmt: skip
        errors = (row["measured"] - row["exact"]) / row["standard_error"]
        found.append(Claim(f"{label}: Monte Carlo", "within 3 s.e.", f"{errors:+.1f}",
                           abs(errors) <= 3))  # fmt: skip
    costs = {
        density: own[-1]["steps"] / own[0]["steps"]
        for density, own in _by_density(rows).items()
        if own[-1]["steps"] and own[0]["steps"]
    }
    if len(costs) > 1:
        order = [costs[k] for k in sorted(costs)]
        found.append(
            Claim(f"logistic: the sparser the data, the less delay {max(config.delays)} costs",
                  "slowdown rises with density", ", ".join(f"{v:.2f}" for v in order),
                  order == sorted(order))
        )  # fmt: skip
    for density, own in _by_density(rows).items():
        reached = [r for r in own if r["steps"]]
        if len(reached) >= 3 and own[0].get("estimated"):
            knee = _knee(reached)
            ratio = own[0]["estimated"] / knee
            found.append(
                Claim(f"logistic, density {density:g}: estimated critical parameter over the "
                      f"measured delay ({knee:.3g})", "between 0.5 and 2", ratio,
                      0.5 <= ratio <= 2)
            )  # fmt: skip
    return found


def _knee(rows: list[Row]) -> float:
    return fit_delay([EQUIVALENT * r["delay"] for r in rows], [r["steps"] for r in rows])


def _by_density(rows: list[Row]) -> dict[float, list[Row]]:
    found: dict[float, list[Row]] = {}
    for row in rows:
        if row["problem"] == "logistic":
            found.setdefault(row["density"], []).append(row)
    return found


@plots.style()
def _figure(config: Sparse, rows: list[Row]) -> Any:
    fig = plots.figure(figsize=(9.6, 4))
    left, right = fig.subplots(1, 2)
    own = [r for r in rows if r["problem"] == "one-hot"]
    for delay, color in zip(sorted({r["delay"] for r in own}), plots.COLORS, strict=False):
        mine = [r for r in own if r["delay"] == delay]
        d = config.dimension
        rate = mine[0]["rate"]
        steps = 6 * d
        exact = second_moments.delayed_moments(rate / d, steps, noise_ratio=d - 1, delay=delay)
        left.semilogy(exact, color=color, label=f"$\\tau$ = {delay}, exact")
        left.errorbar(
            [r["time"] for r in mine], [r["measured"] for r in mine],
            [3 * r["standard_error"] for r in mine], color=color, fmt="o", label="Monte Carlo",
        )  # fmt: skip
    left.set(
        xlabel="steps", ylabel="$E\\,x_j^2$", title=f"one-hot gradients, d = {config.dimension}"
    )
    left.legend(fontsize=9)
    for (density, mine), color in zip(_by_density(rows).items(), plots.COLORS[2:], strict=False):
        reached = [r for r in mine if r["steps"]]
        late = [r for r in reached if r["delay"]]
        if not late or reached[0]["delay"]:
            continue
        x = [r["delay"] for r in late]
        y = [r["steps"] / reached[0]["steps"] for r in late]
        label = f"density 1/{round(1 / density)}" if density < 1 else "dense"
        right.loglog(x, y, "o", color=color, label=label)
        if len(reached) >= 3:
            dense = np.geomspace(min(x), max(x), 50)
            right.loglog(
                dense,
                slowdown(EQUIVALENT * dense / (1 + _knee(reached))),
                color=color,
                linewidth=1.5,
            )
    right.set(xlabel="largest delay of a coordinate", ylabel="slowdown, tuned",
              title="logistic regression, Hogwild")  # fmt: skip
    shown = sorted(set(config.delays) - {0})
    right.set_xticks(shown, [str(delay) for delay in shown])
    right.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    right.minorticks_off()
    if right.lines:
        right.legend(fontsize=9, loc="upper left")
    return fig
