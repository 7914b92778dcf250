"""Three estimators of noise over signal, where it is known exactly.

Critical parameters, arXiv 2103.02351; case T5 is derived in this repository.

    python -m experiments critical_params estimate

T5: three estimators of noise over signal where it is known.
Cost: half a minute on 2 cores.
Expected: 21.85 within 5 %.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Claims, Context, Row, Rows, within
from experiments.critical_params._common import within_errors
from experiments.fields import Count, Settings
from jcollab import plots
from jcollab.theory import noise_scale

SQUARE = 5.858  # |x|^2 of the recorded case
RECORDED = 21.853


class Config(Settings):
    """Least squares with Gaussian features, and the examples for each estimator."""

    dimension: Count = 20  # d
    label_noise: float = 0.25  # variance of the labels
    small: Count = 10  # the small batch
    large: int = 1000  # the large batch
    samples: Count = 400_000  # examples that each estimator may use
    trajectory: Count = 200  # steps of the run along which M and sigma^2 are fitted
    seed: int = 0  # of all samples

    def _check(self) -> None:
        if not self.small < self.large <= self.samples:
            raise ValueError(f"large must be in small + 1..samples, got {self.large}")


PRESETS = {"estimate": Config()}
SMOKE = {"estimate": {"dimension": 4, "samples": 400, "large": 40, "small": 4, "trajectory": 10}}


def run(config: Config, context: Context) -> Rows:
    """Estimates from two batch sizes, from per-sample gradients, and along a trajectory."""
    d, m, variance = config.dimension, config.dimension + 1.0, config.dimension * config.label_noise
    problem = jc.data.synthetic.gaussian_regression(np.ones(d), label_noise=config.label_noise)
    point, loss = jnp.full(d, np.sqrt(SQUARE / d)), jc.data.synthetic.regression_loss
    keys = jax.random.split(jax.random.key(config.seed), 3)
    exact = {"ratio": noise_scale.critical(m, variance, SQUARE)}
    exact |= {"estimator": "exact", "noise_ratio": m, "variance": variance}
    two = two_batches(config, problem, point, keys[0])

    fewer = min(two["samples"], 100_000)
    drawn = jc.data.synthetic.regression_samples(fewer)(problem, keys[1], 0)
    examples = jax.tree.map(lambda leaf: leaf[0], drawn)._replace(weight=jnp.ones(fewer))
    full = noise_scale.per_sample(loss, point, examples, unbiased=True)
    covariance = {"estimator": "covariance of samples", "ratio": full.ratio, "samples": fewer}

    part = jax.tree.map(lambda leaf: leaf[:20_000], examples)
    metrics = noise_scale.measured(loss, part)
    algorithm = jc.with_metrics(jc.centralized(loss, optax.sgd(0.02)), metrics)
    batches = jc.data.from_function(jc.data.synthetic.regression_samples(1), problem)
    state = algorithm.init(3 * point[None])
    log = jc.run(algorithm, state, batches, keys[2], num_rounds=config.trajectory)[1]
    signal, noise = (np.asarray(log[name], float) for name in ("signal", "noise"))
    context.kept["trajectory"] = signal, noise
    m, variance = noise_scale.fit(signal, noise, weights=1 / noise**2)
    along = {"ratio": noise_scale.critical(m, variance, SQUARE), "samples": len(part.y)}
    along |= {"estimator": "regression along a trajectory", "noise_ratio": m, "variance": variance}
    yield exact
    yield two
    yield covariance
    yield along


def two_batches(config: Config, problem: Any, point: jax.Array, key: jax.Array) -> Row:
    """Estimates the ratio from small and large batches, with its standard error."""
    size = config.large // config.small * config.small

    def means(key: jax.Array) -> jax.Array:
        """Returns the mean gradients of the small batches that form one large batch."""
        batch = jc.data.synthetic.regression_samples(1, n=config.large)(problem, key, 0)
        each = jax.vmap(lambda b: jax.grad(jc.data.synthetic.regression_loss)(point, b, key))(batch)
        return each[:size].reshape(-1, config.small, config.dimension).mean(1)

    count = config.samples // config.large
    groups = np.asarray(jax.lax.map(means, jax.random.split(key, count)), float)
    squares = np.stack([(groups**2).sum(-1).mean(1), (groups.mean(1) ** 2).sum(-1)])

    def ratio(chosen: Any) -> float:
        return float(noise_scale.two_batches(*squares[:, chosen], config.small, size).ratio)

    rng = np.random.default_rng(config.seed)
    error = np.std([ratio(rng.integers(0, count, count)) for _ in range(200)])
    row = {"estimator": f"batches of {config.small} and {size}", "ratio": ratio(slice(None))}
    return row | {"standard_error": error, "samples": count * config.large}


def claims(config: Config, rows: list[Row]) -> Claims:
    """Every estimate is near the exact value."""
    exact = rows[0]["ratio"]
    if (config.dimension, config.label_noise) == (20, 0.25):
        note = f"of {RECORDED}"
        yield within("C of the recorded case", exact / RECORDED - 1, 0.01, exact, note=note)
    for row in rows[1:]:
        claim, off = f"{row['estimator']}: C", row["ratio"] / exact - 1
        measured, note = f"{row['ratio']:.3f} ({off:+.1%})", f"of {exact:.3f}"
        yield within(claim, off, 0.05, measured, note=note)
        if "standard_error" in row:
            yield within_errors(claim, row | {"measured": row["ratio"], "exact": exact})
        if "variance" in row:
            off = row["variance"] / rows[0]["variance"] - 1
            yield within(f"{row['estimator']}: sigma^2", off, 0.1, f"{off:+.1%}")


def figures(config: Config, rows: list[Row], context: Context) -> None:
    """Draws noise against signal along the trajectory, with the fit and the truth."""
    signal, noise = context.kept["trajectory"]
    fig, ax = plots.subplots(figsize=(5.6, 4.2))
    ax.loglog(signal, noise, "o", markersize=4, alpha=0.6, label="along a run of SGD")
    grid = np.geomspace(signal.min(), signal.max(), 100)
    for name, row, dash in (("fit", rows[-1], "-"), ("exact", rows[0], "k--")):
        m, variance = row["noise_ratio"], row["variance"]
        label = rf"{name}: ${m:.3g}\,|\nabla f|^2 + {variance:.3g}$"
        ax.loglog(grid, m * grid + variance, dash, label=label)
    ax.set(xlabel=r"signal $|\nabla f|^2$", ylabel=r"noise $E|\xi|^2$ of one example")
    ax.legend(fontsize=9)
    context.save(fig, "estimate")
