"""Stored problems, gradients of their variance, and end points of algorithms."""

import itertools
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Row, columns
from experiments.fields import Bound, Positive
from jcollab import plots

FILES = pathlib.Path(__file__).parent / "problems"
Array = jax.Array


class _Halves(Bound):
    """A bound: each value is half of the previous one."""

    def check(self, name: str, values: Any) -> None:
        """Raises ValueError unless each value is half of the previous one."""
        if not all(abs(b / a - 0.5) < 1e-6 for a, b in itertools.pairwise(values)):
            raise ValueError(f"{name} must each be half of the one before, got {values}")


Halves = Annotated[tuple[Positive, ...], _Halves()]


class Problem(NamedTuple):
    """Deterministic functions of clients."""

    loss: Callable[[Array, Any, Any], Array]  # loss(model, data of a client, key)
    data: Any  # leaves ``[n, ...]``
    start: Array  # x0, ``[d]``

    def mean_loss(self, x: Array) -> Array:
        """Computes f(x), the mean of the clients' losses."""
        return jnp.mean(jax.vmap(self.loss, (None, 0, None))(x, self.data, None))

    def variance(self, x: Array) -> Array:
        """Computes Var(x) = (1/n) sum_i ||grad f_i(x) - grad f(x)||^2."""
        grads = jax.vmap(jax.grad(self.loss), (None, 0, None))(x, self.data, None)
        return jnp.mean(jnp.sum((grads - grads.mean(0)) ** 2, axis=1))

    def end(self, algorithm: jc.Algorithm, rounds: int = 1) -> Array:
        """Returns the model after some rounds from the start, ``[d]``."""
        key, n = jax.random.key(0), jc.layout.num_clients(self.data, "data")
        state = algorithm.init(jc.replicate(self.start, n))
        data = jc.data.full_batch(self.data)
        return jc.params_of(jc.run(algorithm, state, data, key, num_rounds=rounds)[0])[0]

    def gradient_descent(self, learning_rate: Any, steps: int) -> Array:
        """Returns the model after steps of gradient descent, ``[d]``."""
        return self.end(jc.centralized(self.loss, optax.sgd(learning_rate)), steps)


def quadratic() -> Problem:
    """Builds five quadratics in four dimensions; float64 if it is enabled."""
    stored = np.load(FILES / "quadratic.npz")

    def loss(x: Array, batch: Any, key: Any) -> Array:
        return 0.5 * x @ batch["A"] @ x - batch["b"] @ x

    data = {name: jnp.asarray(stored[name]) for name in ("A", "b")}
    return Problem(loss, data, jnp.asarray(stored["x0"]))


def mlp() -> Problem:
    """Builds five clients with 16 examples and a tanh network of 30 weights."""
    stored = np.load(FILES / "mlp.npz")
    inputs, classes = stored["X"].shape[-1], int(stored["Y"].max()) + 1
    hidden = len(stored["W"]) // (inputs + classes)

    def loss(w: Array, batch: Any, key: Any) -> Array:
        first, second = jnp.split(w, [inputs * hidden])
        logits = jnp.tanh(batch["x"] @ first.reshape(inputs, hidden)) @ second.reshape(hidden, -1)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    data = {"x": jnp.asarray(stored["X"]), "y": jnp.asarray(stored["Y"])}
    return Problem(loss, data, jnp.asarray(stored["W"]))


def draw(rows: list[Row], lines: dict[str, tuple[str, Any, int | None]], **options: Any) -> Any:
    """Draws columns against the first one; ``lines``: labels, colors and expected orders."""
    fig, ax = plots.subplots(figsize=(6.2, 4.6))
    (across,) = columns(rows, next(iter(rows[0])))
    for name, (label, color, order) in lines.items():
        (values,) = columns(rows, name)
        ax.plot(across, values, "o-", color=color, label=label)
        if order:
            guide, text = 0.6 * values[0] * (across / across[0]) ** order, f"order {order}"
            ax.plot(across, guide, ls=plots.DASHES[order - 1], lw=1.2, color="gray", label=text)
    ax.set(xscale="log", yscale="log", **options)
    ax.set_xticks(across, [f"{value:g}" for value in across])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return fig
