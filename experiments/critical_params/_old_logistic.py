"""Regularised logistic regression on real data: are the knees where the estimate says? (T6)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

import jcollab as jc
from experiments.contract import Claim, Context, Row
from experiments.critical_params import learning
from experiments.critical_params.kinds import Logistic


def tabular(name: str, examples: int, seed: int) -> jc.data.Dataset:
    """Standardised or centred features with a constant one, and labels; at most ``examples``."""
    if name == "breast_cancer":
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        x = (x - x.mean(0)) / x.std(0)
    else:
        images = jc.data.load(name)
        chosen = np.random.default_rng(seed).permutation(len(images.y))[:examples]
        x, y = images.x[chosen].reshape(len(chosen), -1), images.y[chosen]
        x = x - x.mean(0)
    x, y = x[:examples], y[:examples]
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    return jc.data.Dataset(x.astype(np.float32), y.astype(np.int32))


def logistic_loss(regularization: float) -> Any:
    """Softmax cross-entropy of a linear model ``[d, C]``, plus ``l2 |W|^2 / 2``."""

    def loss(params: Any, batch: Any, key: Any) -> Any:
        del key
        fits = optax.softmax_cross_entropy_with_integer_labels(batch.x @ params, batch.y)
        return fits.mean() + 0.5 * regularization * jnp.sum(params**2)

    return loss


def minimum(loss: Any, examples: Any, shape: tuple[int, int]) -> float:
    """f* by L-BFGS in float64."""
    with jax.enable_x64(True):
        exact = jc.data.Dataset(jnp.asarray(examples.x, float), jnp.asarray(examples.y))
        slope = jax.jit(jax.value_and_grad(lambda p: loss(p.reshape(shape), exact, None)))

        def both(p: np.ndarray) -> tuple[float, np.ndarray]:
            value, grads = slope(jnp.asarray(p))
            return float(value), np.asarray(grads, float)

        found = scipy.optimize.minimize(
            both, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-8},
        )  # fmt: skip
    return float(found.fun)


def run(config: Logistic, context: Context) -> list[Row]:
    """Knees of every data set."""
    rows: list[Row] = []
    seeds = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    loss = logistic_loss(config.regularization)
    for name in config.datasets:
        examples = tabular(name, config.examples, config.seed)
        shape = (examples.x.shape[1], int(examples.y.max()) + 1)
        start = jnp.zeros(shape)
        lowest = minimum(loss, examples, shape)
        first = float(loss(start, examples, None)) - lowest
        problem = learning.Problem(
            name, loss, examples, start, lowest, config.target * first, config.examples,
            config.max_steps,
        )  # fmt: skip
        found, _ = learning.measure(problem, config.batches, config.delays, 0.1, seeds, context)
        rows += found
        if context.stop.is_set():
            return rows
    context.save(learning.figure(rows), "logistic")
    return rows


def claims(config: Logistic, rows: list[Row]) -> list[Claim]:
    """Estimated knees within a factor of 2 of the measured ones."""
    return learning.knee_claims(rows)


def shown(config: Logistic, rows: list[Row]) -> list[Row]:
    """Tuned steps."""
    return learning.shown(rows)
