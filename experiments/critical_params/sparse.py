"""Sparse gradients: a delay is free where two updates seldom meet in a coordinate.

Critical parameters, arXiv 2103.02351; table T4 is derived in this repository.

    python -m experiments critical_params sparse

T4: one-hot gradients, and Hogwild on sparse logistic regression.
Cost: 2 minutes on 2 cores.
Expected: the sparser, the longer the delay that is free.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row, between, check
from experiments.critical_params._knees import estimate, fit_delay, slowdown
from experiments.critical_params._moments import monte_carlo, within, within_errors
from experiments.critical_params._tuning import convex, tune
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


@dataclasses.dataclass(frozen=True)
class Config:
    """Both problems, and the delays of single coordinates."""

    dimension: int = 100  # d of the one-hot problem
    runs: int = 1000  # Monte Carlo runs of the one-hot problem
    features: int = 64  # d of the logistic regression
    examples: int = 512  # its size
    densities: tuple[float, ...] = (1.0, 0.25, 0.0625)  # share of features that are not zero
    delays: tuple[int, ...] = (0, 4, 16, 64, 256)  # largest, drawn uniformly (Hogwild)
    num_seeds: int = 8  # repetitions of the logistic regression
    max_steps: int = 40_000  # where its runs end
    seed: int = 0  # of all draws

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check(self, "dimension runs features examples num_seeds max_steps", at_least=1)
        check(self, "delays", at_least=0)
        check(self, "densities", above=0, at_most=1)


PRESETS = {"sparse": Config()}
SMOKE = {
    "sparse": {
        "dimension": 8,
        "runs": 20,
        "features": 8,
        "examples": 32,
        "delays": (0,),
        "densities": (0.5,),
        "num_seeds": 2,
        "max_steps": 30,
    },
}


def run(config: Config, context: Context) -> list[Row]:
    """The one-hot problem, then logistic regression of several densities."""
    rows: list[Row] = []
    log, d = context.log(), config.dimension
    for tau, rate in context.cases(RECORDED):
        # tau + 1 equal clients in turn, gradients x_j e_j; with |x|^2 = 1 at first, |x|^2 is the
        # mean of coordinates that are 1 at first
        found = monte_carlo(
            jc.asynchronous(jc.data.regression_loss, optax.sgd(rate), jnp.arange(tau + 1)),
            jc.data.one_hot_regression(d),
            d,
            n=tau + 1,
            batch=1,
            times=(d, 3 * d, 6 * d),
            exact=_one_hot_moments(d, tau, rate),
            config=config,
        )
        rows += [{"problem": "one-hot", "delay": tau, "rate": rate} | row for row in found]
    for row in rows:
        log.write(row)
    problems = {density: problem(config, density) for density in config.densities}
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    cases = context.cases(config.densities, sorted({0, *config.delays}), description="logistic")
    for density, delay in cases:
        rate = rate if delay else 1.0
        late = jc.local.coordinate_delays(jax.random.key(config.seed), delay)
        found = tune(
            problems[density],
            lambda r, late=late: jc.centralized(loss, optax.chain(late, optax.sgd(r))),
            rate,
            seeds,
            context,
        )
        rate = found.row["learning_rate"] or rate
        row = {"problem": "logistic", "density": density, "delay": delay}
        row |= found.row | {"rate": rate}
        del row["learning_rate"]
        if delay == 0 and found.params is not None:
            there = estimate(problems[density], found.params)
            row |= {name: there[name] for name in ("estimated", "smoothness")}
        rows.append(row)
        log.write(row)
    return rows


def _one_hot_moments(d: int, tau: int, rate: float) -> np.ndarray:
    """``E x_j^2`` by step, up to 6d."""
    return second_moments.delayed_moments(rate / d, 6 * d, noise_ratio=d - 1, delay=tau)


def problem(config: Config, density: float) -> Any:
    """Logistic regression on positive features, as counts of words are.

    Each is not zero with probability ``density``. Their mean makes dense features agree on one
    direction, which leaves little noise over signal; labels are those of a linear function, so that
    noise vanishes with the loss.
    """
    rng = np.random.default_rng(config.seed)
    shape = (config.examples, config.features)
    x = np.abs(rng.normal(size=shape)) * (rng.random(shape) < density)
    x /= np.sqrt(density * config.features)
    score = x @ rng.normal(size=config.features)
    y = score > np.median(score)
    examples = jc.data.Dataset(x.astype(np.float32), y.astype(np.int32))
    return convex("", loss, examples, (config.features, 1), TARGET, config.max_steps)


def loss(params: Any, batch: Any, key: Any) -> Any:
    """Binary logistic loss of ``w [d, 1]`` with l2."""
    fits = optax.sigmoid_binary_cross_entropy((batch.x @ params)[..., 0], batch.y)
    return fits.mean() + 0.5 * REGULARIZATION * jnp.sum(params**2)


def claims(config: Config, rows: list[Row]) -> list[Claim]:
    """The recorded moments, the Monte Carlo, and knees that grow with sparsity."""
    found = []
    for row in rows:
        if row["problem"] != "one-hot":
            continue
        label = f"one-hot, tau={row['delay']}, t={row['time']}"
        if config.dimension == 100:
            recorded = RECORDED[row["delay"], row["rate"]][(100, 300, 600).index(row["time"])]
            off = row["exact"] / recorded - 1
            found.append(within(f"{label}: recorded E x_j^2", off, 0.01, f"{off:+.2%}"))
        off = row["measured"] - row["exact"]
        found.append(within_errors(f"{label}: Monte Carlo", off, row["standard_error"]))
    costs = {
        density: own[-1]["steps"] / own[0]["steps"]
        for density, own in _by_density(rows).items()
        if own[-1]["steps"] and own[0]["steps"]
    }
    if len(costs) > 1:
        order = [costs[k] for k in sorted(costs)]
        found.append(
            Claim(
                f"logistic: the sparser the data, the less delay {max(config.delays)} costs",
                "slowdown rises with density",
                ", ".join(f"{v:.2f}" for v in order),
                order == sorted(order),
            )
        )
    for density, own in _by_density(rows).items():
        knee = _knee(own)
        if knee and own[0].get("estimated"):
            claim = (
                f"logistic, density {density:g}: estimated critical parameter over the "
                f"measured delay ({knee:.3g})"
            )
            found.append(between(claim, own[0]["estimated"] / knee, 0.5, 2))
    return found


def _knee(rows: list[Row]) -> float | None:
    """The knee of at least three delays of which the target was reached."""
    reached = [r for r in rows if r["steps"]]
    if len(reached) < 3:
        return None
    return fit_delay([EQUIVALENT * r["delay"] for r in reached], [r["steps"] for r in reached])


def _by_density(rows: list[Row]) -> dict[float, list[Row]]:
    own = [row for row in rows if row["problem"] == "logistic"]
    return {
        density: [row for row in own if row["density"] == density]
        for density in dict.fromkeys(row["density"] for row in own)
    }


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Second moments of the one-hot problem; slowdowns of logistic regression."""
    fig = plots.figure(figsize=(9.6, 4))
    left, right = fig.subplots(1, 2)
    for (delay, rate), color in zip(RECORDED, plots.COLORS, strict=False):
        own = [r for r in rows if (r["problem"], r["delay"]) == ("one-hot", delay)]
        exact = _one_hot_moments(config.dimension, delay, rate)
        left.semilogy(exact, color=color, label=f"$\\tau$ = {delay}, exact")
        left.errorbar(
            [r["time"] for r in own],
            [r["measured"] for r in own],
            [3 * r["standard_error"] for r in own],
            color=color,
            fmt="o",
            label="Monte Carlo",
        )
    title = f"one-hot gradients, d = {config.dimension}"
    left.set(xlabel="steps", ylabel="$E\\,x_j^2$", title=title)
    left.legend(fontsize=9)
    for (density, own), color in zip(_by_density(rows).items(), plots.COLORS[2:], strict=False):
        reached = [r for r in own if r["steps"]]
        late = [r for r in reached if r["delay"]]
        if not late or reached[0]["delay"]:
            continue
        x = [r["delay"] for r in late]
        y = [r["steps"] / reached[0]["steps"] for r in late]
        label = f"density 1/{round(1 / density)}" if density < 1 else "dense"
        right.loglog(x, y, "o", color=color, label=label)
        if knee := _knee(own):
            dense = np.geomspace(min(x), max(x), 50)
            curve = slowdown(EQUIVALENT * dense / (1 + knee))
            right.loglog(dense, curve, color=color, linewidth=1.5)
    right.set(xlabel="largest delay of a coordinate", ylabel="slowdown, tuned")
    right.set_title("logistic regression, Hogwild")
    delays = sorted(set(config.delays) - {0})
    right.set_xticks(delays, [str(delay) for delay in delays])
    right.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    right.minorticks_off()
    if right.lines:
        right.legend(fontsize=9, loc="upper left")
    context.save(fig, "sparse")
