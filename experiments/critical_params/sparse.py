"""Sparse gradients: a delay is free if two updates rarely share a coordinate.

Critical parameters, arXiv 2103.02351; table T4 is derived in this repository.

    python -m experiments critical_params sparse

T4: one-hot gradients, and Hogwild on sparse logistic regression.
Cost: 1 minute on 2 cores.
Expected: the sparser, the longer the delay that is free.
"""

from typing import Any

import jax
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Claims, Context, Row, Rows, columns, within
from experiments.critical_params import _common as common
from experiments.fields import Count, Natural, Settings, Share
from jcollab import plots
from jcollab.theory import second_moments

# recorded E x_j^2 at t = d, 3d, 6d for d = 100, by (tau, d gamma / L)
RECORDED = {(10, 0.834): (0.398148, 0.0636, 0.00406), (100, 0.34): (0.550044, 0.178253, 0.033809)}
REGULARIZATION = 1e-4
TARGET = 0.3
# without noise, uniform delays in 0..tau allow a learning rate of pi^2 / (2 tau), a constant delay
# allows pi / (2 tau): uniform delays are equivalent to a constant delay of tau / pi
EQUIVALENT = 1 / np.pi


class Config(Settings):
    """Both problems, and the delays of coordinates."""

    dimension: Count = 100  # d of the one-hot problem
    runs: Count = 1000  # Monte Carlo runs of the one-hot problem
    features: Count = 64  # d of the logistic regression
    examples: Count = 512  # of the logistic regression
    densities: tuple[Share, ...] = (1.0, 0.25, 0.0625)  # share of features that are not zero
    delays: tuple[Natural, ...] = (0, 4, 16, 64, 256)  # largest, drawn uniformly (Hogwild)
    num_seeds: Count = 8  # repetitions of the logistic regression
    max_steps: Count = 40_000  # its runs end after so many steps
    seed: int = 0  # of all draws


PRESETS = {"sparse": Config()}
SMALL = {"dimension": 8, "runs": 20, "features": 8, "examples": 32, "delays": (0,)}
SMOKE = {"sparse": SMALL | {"densities": (0.5,), "num_seeds": 2, "max_steps": 30}}


def run(config: Config, context: Context) -> Rows:
    """Runs the one-hot problem, then logistic regression with several densities."""
    d = config.dimension
    for delay, rate in context.cases(RECORDED):
        simulated = common.monte_carlo(config, d, rate, (d, 3 * d, 6 * d), delay=delay, sparse=True)
        yield from [{"problem": "one-hot", "delay": delay, "rate": rate} | row for row in simulated]
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    cases = context.cases(config.densities, sorted({0, *config.delays}), description="logistic")
    for density, delay in cases:
        if delay == 0:
            problem, rate = classification(config, density), 1.0
        late = jc.local.coordinate_delays(jax.random.key(config.seed), delay)

        def build(rate: Any, loss: Any = problem.loss, late: Any = late) -> jc.Algorithm:
            return jc.centralized(loss, optax.chain(late, optax.sgd(rate)))

        tuned = common.tune(problem, build, rate, seeds, context)
        rate = tuned.learning_rate if tuned else rate
        row = {"problem": "logistic", "density": density, "delay": delay, "rate": rate}
        row["steps"] = tuned and tuned.steps
        if tuned and delay == 0:
            there = common.estimate(problem, tuned, seeds)
            row |= {name: there[name] for name in (*common.ESTIMATES, "smoothness")}
        yield row


def classification(config: Config, density: float) -> common.Problem:
    """Draws labels from a linear function of positive features, such as counts of words.

    Dense features share a direction, their mean, so that noise over signal is small.
    """
    rng = np.random.default_rng(config.seed)
    shape = (config.examples, config.features)
    x = np.abs(rng.normal(size=shape)) * (rng.random(shape) < density)
    x /= np.sqrt(density * config.features)
    score = x @ rng.normal(size=config.features)
    y = score > np.median(score)
    examples = jc.data.Dataset(x.astype(np.float32), y.astype(np.int32))
    return common.logistic("", examples, 1, REGULARIZATION, TARGET, config.max_steps)


def claims(config: Config, rows: list[Row]) -> Claims:
    """Recorded moments and Monte Carlo agree, and knees grow with sparsity."""
    for row in (row for row in rows if row["problem"] == "one-hot"):
        label = f"one-hot, tau={row['delay']}, t={row['time']}"
        if config.dimension == 100:
            recorded = RECORDED[row["delay"], row["rate"]][(100, 300, 600).index(row["time"])]
            off = row["exact"] / recorded - 1
            yield within(f"{label}: recorded E x_j^2", off, 0.01)
        yield common.within_errors(f"{label}: Monte Carlo", row)
    steps = {(r["density"], r["delay"]): r["steps"] for r in rows if r["problem"] == "logistic"}
    most = max(config.delays)
    pairs = [(steps[density, most], steps[density, 0]) for density in sorted(config.densities)]
    costs = [last / first for last, first in pairs if last and first]
    if len(costs) > 1:
        claim = f"logistic: the sparser the data, the less delay {most} costs"
        measured = ", ".join(f"{cost:.2f}" for cost in costs)
        yield Claim(claim, "slowdown rises with density", measured, costs == sorted(costs))
    yield from common.claims(config, _as_delays(rows))


def _as_delays(rows: list[Row]) -> list[Row]:
    """Returns the rows of logistic regression with equivalent constant delays."""
    relabeled = []
    for row in (row for row in rows if row["problem"] == "logistic"):
        name, size = f"logistic, density {row['density']:g}", EQUIVALENT * row["delay"]
        relabeled.append(row | {"problem": name, "kind": "delay", "size": size})
    return relabeled


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Second moments of the one-hot problem; slowdowns of logistic regression."""
    fig, (left, right) = plots.subplots(1, 2, figsize=(9.6, 4))
    d = config.dimension
    for (delay, rate), color in zip(RECORDED, plots.COLORS, strict=False):
        exact = second_moments.delayed_moments(rate / d, 6 * d, noise_ratio=d - 1, delay=delay)
        left.semilogy(exact, color=color, label=f"$\\tau$ = {delay}, exact")
        own = [r for r in rows if (r["problem"], r["delay"]) == ("one-hot", delay)]
        times, measured, errors = columns(own, "time measured standard_error")
        left.errorbar(times, measured, 3 * errors, color=color, fmt="o", label="Monte Carlo")
    left.set(xlabel="steps", ylabel="$E\\,x_j^2$", title=f"one-hot gradients, d = {d}")
    left.legend(fontsize=9)
    delays = _as_delays(rows)
    for line, color in zip(common.knees(delays), plots.COLORS[2:], strict=False):
        common.gains(right, "delay", delays, line, color=color, label=line["problem"])
    right.set(xlabel="largest delay of a coordinate / $\\pi$", ylabel="slowdown, tuned")
    context.save(fig, "sparse")
