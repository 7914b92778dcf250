"""Three estimators of noise over signal, where it is known exactly (T5)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params.kinds import Estimate
from jcollab import noise_scale, plots

SQUARE = 5.858  # |x|^2 of the recorded case
RECORDED = 21.853


def run(config: Estimate, context: Context) -> list[Row]:
    """Per-sample covariance and two batch sizes at a point, a regression along a trajectory."""
    d = config.dimension
    problem = jc.data.gaussian_regression(np.ones(d), label_noise=config.label_noise)
    point = jnp.full(d, np.sqrt(SQUARE / d))
    exact = noise_scale.critical(d + 1, d * config.label_noise, SQUARE)
    keys = jax.random.split(jax.random.key(config.seed), 3)
    rows: list[Row] = [{"estimator": "exact", "ratio": exact, "noise_ratio": float(d + 1),
                        "variance": d * config.label_noise}]  # fmt: skip

    count = config.samples // config.large * config.large
    gradient = jax.grad(jc.data.regression_loss)

    @jax.jit
    def means(key: jax.Array) -> jax.Array:
        """Mean gradients of the small batches of one large batch, which they make up."""
        batch = jc.data.regression_samples(1, n=config.large)(problem, key, 0)
        each = jax.vmap(lambda b: gradient(point, b, key))(batch)
        size = config.large // config.small * config.small
        return each[:size].reshape(-1, config.small, d).mean(1)

    groups = np.asarray(jax.lax.map(means, jax.random.split(keys[0], count // config.large)), float)
    small, large = (groups**2).sum(-1).mean(1), (groups.mean(1) ** 2).sum(-1)
    size = groups.shape[1] * config.small
    two = noise_scale.two_batches(small, large, config.small, size)
    rng = np.random.default_rng(config.seed)
    again = []
    for _ in range(200):
        who = rng.integers(0, len(small), len(small))
        again.append(
            float(noise_scale.two_batches(small[who], large[who], config.small, size).ratio)
        )
    rows.append({"estimator": f"batches of {config.small} and {size}", "ratio": float(two.ratio),
                 "standard_error": float(np.std(again)), "samples": count})  # fmt: skip

    fewer = min(count, 100_000)
    examples = jax.tree.map(
        lambda leaf: leaf[0], jc.data.regression_samples(fewer)(problem, keys[1], 0)
    )
    examples = examples._replace(weight=jnp.ones(fewer))
    full = noise_scale.per_sample(jc.data.regression_loss, point, examples, unbiased=True)
    rows.append({"estimator": "covariance of samples", "ratio": float(full.ratio),
                 "samples": fewer})  # fmt: skip

    part = jax.tree.map(lambda leaf: leaf[: min(fewer, 20_000)], examples)
    algorithm = jc.with_metrics(
        jc.centralized(jc.data.regression_loss, optax.sgd(0.02)),
        noise_scale.measured(jc.data.regression_loss, part),
    )
    _, log = jc.run(
        algorithm, algorithm.init(keys[2], 3 * point[None]), problem, keys[2],
        num_rounds=config.trajectory, sample=jc.data.regression_samples(1),
    )  # fmt: skip
    signal, noise = np.asarray(log["signal"], float), np.asarray(log["noise"], float)
    fitted = noise_scale.fit(signal, noise, weights=1 / noise**2)
    rows.append({
        "estimator": "regression along a trajectory", "noise_ratio": fitted.noise_ratio,
        "variance": fitted.variance,
        "ratio": noise_scale.critical(fitted.noise_ratio, fitted.variance, SQUARE),
        "samples": len(part.y),
    })  # fmt: skip
    for row in rows:
        context.log().write(row)
    context.save(_figure(signal, noise, fitted, config), "estimate")
    return rows


def claims(config: Estimate, rows: list[Row]) -> list[Claim]:
    """The exact value, and every estimate near it."""
    exact = rows[0]["ratio"]
    found = []
    if (config.dimension, config.label_noise) == (20, 0.25):
        found.append(Claim("C of the recorded case", f"{RECORDED} within 1%", exact,
                           abs(exact / RECORDED - 1) <= 0.01))  # fmt: skip
    for row in rows[1:]:
        off = row["ratio"] / exact - 1
        found.append(Claim(f"{row['estimator']}: C", f"{exact:.3f} within 5%",
                           f"{row['ratio']:.3f} ({off:+.1%})", abs(off) <= 0.05))  # fmt: skip
        if "standard_error" in row:
            errors = (row["ratio"] - exact) / row["standard_error"]
            found.append(Claim(f"{row['estimator']}: C", "within 3 s.e.", f"{errors:+.1f}",
                               abs(errors) <= 3))  # fmt: skip
        if "variance" in row:
            off = row["variance"] / rows[0]["variance"] - 1
            found.append(Claim(f"{row['estimator']}: sigma^2", "within 10%", f"{off:+.1%}",
                               abs(off) <= 0.1))  # fmt: skip
    return found


@plots.style()
def _figure(signal: np.ndarray, noise: np.ndarray, fitted: Any, config: Estimate) -> Any:
    fig = plots.figure(figsize=(5.6, 4.2))
    ax = fig.subplots()
    ax.loglog(signal, noise, "o", color=plots.COLORS[0], markersize=4, alpha=0.6,
              label="along a run of SGD")  # fmt: skip
    grid = np.geomspace(signal.min(), signal.max(), 100)
    d = config.dimension
    label = rf"fit: ${fitted.noise_ratio:.1f}\,|\nabla f|^2 + {fitted.variance:.2f}$"
    ax.loglog(grid, fitted.noise_ratio * grid + fitted.variance, color=plots.COLORS[1], label=label)
    exact = (d + 1) * grid + d * config.label_noise
    label = rf"exact: ${d + 1}\,|\nabla f|^2 + {d * config.label_noise:g}$"
    ax.loglog(grid, exact, "--", color="black", linewidth=1.5, label=label)
    ax.set(
        xlabel=r"signal $|\nabla f|^2$",
        ylabel=r"noise $E|\xi|^2$ of one example",
        title="noise against signal",
    )
    ax.legend(fontsize=9)
    return fig
