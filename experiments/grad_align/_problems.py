"""The stored problems, gradients of their variance, and where algorithms go from their start."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context, Row
from jcollab import plots

FILES = pathlib.Path(__file__).parent / "problems"
Array = jax.Array


class Problem(NamedTuple):
    """Functions of clients, without randomness."""

    loss: Callable  # ``loss(x, batch, key)`` of one client
    data: Any  # leaves ``[n, ...]``
    start: Array  # x0, ``[d]``

    @property
    def n(self) -> int:
        """Number of clients."""
        return jc.layout.num_clients(self.data, "data")


def quadratic() -> Problem:
    """Five quadratics in four dimensions; float64 where that is on."""
    stored = np.load(FILES / "quadratic.npz")

    def loss(x: Array, batch: Any, key: Any) -> Array:
        return 0.5 * x @ batch["A"] @ x - batch["b"] @ x

    data = {name: jnp.asarray(stored[name]) for name in ("A", "b")}
    return Problem(loss, data, jnp.asarray(stored["x0"]))


def mlp() -> Problem:
    """Five clients with 16 examples and a tanh network of 30 weights; float64 where that is on."""
    stored = np.load(FILES / "mlp.npz")
    inputs, classes = stored["X"].shape[-1], int(stored["Y"].max()) + 1
    hidden = len(stored["W"]) // (inputs + classes)

    def loss(w: Array, batch: Any, key: Any) -> Array:
        first, second = jnp.split(w, [inputs * hidden])
        logits = jnp.tanh(batch["x"] @ first.reshape(inputs, hidden)) @ second.reshape(hidden, -1)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    data = {"x": jnp.asarray(stored["X"]), "y": jnp.asarray(stored["Y"])}
    return Problem(loss, data, jnp.asarray(stored["W"]))


def mean_loss(problem: Problem, x: Array) -> Array:
    """f(x), the mean of the clients' losses."""
    return jnp.mean(jax.vmap(problem.loss, (None, 0, None))(x, problem.data, None))


def variance(problem: Problem, x: Array) -> Array:
    """Var(x) = (1/n) sum_i ||grad f_i(x) - grad f(x)||^2."""
    grads = jax.vmap(jax.grad(problem.loss), (None, 0, None))(x, problem.data, None)
    return jnp.mean(jnp.sum((grads - grads.mean(0)) ** 2, axis=1))


def grad_mean(problem: Problem) -> Array:
    """Gradient of the mean loss at the start, ``[d]``."""
    return jax.grad(mean_loss, 1)(problem, problem.start)


def grad_variance(problem: Problem) -> Array:
    """Gradient of the variance at the start, ``[d]``."""
    return jax.grad(variance, 1)(problem, problem.start)


def end(problem: Problem, algorithm: jc.Algorithm, rounds: int = 1) -> Array:
    """The model after some rounds from the start, ``[d]``."""
    key = jax.random.key(0)
    state, _ = jc.run(
        algorithm,
        algorithm.init(key, jc.replicate(problem.start, problem.n)),
        problem.data,
        key,
        num_rounds=rounds,
        sample=jc.data.whole,
    )
    return jc.params_of(state)[0]


def gradient_descent(problem: Problem, learning_rate: Any, steps: int) -> Array:
    """Where steps with the mean gradient lead, ``[d]``."""
    return end(problem, jc.centralized(problem.loss, optax.sgd(learning_rate)), steps)


def measure_precisely(
    measure: Callable[[Any], list[Row]], config: Any, context: Context
) -> list[Row]:
    """The rows of ``measure(config)`` in float64, which are logged."""
    with jax.enable_x64(True):
        rows = measure(config)
    for row in rows:
        context.log().write(row)
    return rows


def draw_orders(
    rows: list[Row], against: str, lines: dict[str, tuple[str, Any, int | None]]
) -> tuple[Any, Any]:
    """Draws columns against a small number, and how they should fall with it.

    Args:
        rows: one for each value of the number.
        against: column of the number.
        lines: label, color and expected order (None for none) of each column.
    """
    fig = plots.figure(figsize=(6.2, 4.6))
    ax = fig.subplots()
    across = np.array([row[against] for row in rows])
    for name, (label, color, order) in lines.items():
        values = np.array([row[name] for row in rows])
        ax.plot(across, values, "o-", color=color, label=label)
        if order:
            guide = 0.6 * values[0] * (across / across[0]) ** order
            ax.plot(across, guide, ls=(0, (4, 2)), lw=1.2, color="gray")
            style = {"xytext": (-6, -26), "textcoords": "offset points", "color": "gray"}
            text = rf"$\propto \{against}^{order}$"
            ax.annotate(text, (across[0], guide[0]), ha="right", **style)
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(across, [f"{value:g}" for value in across])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return fig, ax
