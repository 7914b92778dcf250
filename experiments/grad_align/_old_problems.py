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

FILES = pathlib.Path(__file__).parent / "problems"
Array = jax.Array


class Problem(NamedTuple):
    """Functions of clients, without randomness.

    Attributes:
        loss: ``loss(x, batch, key)`` of one client.
        data: leaves ``[n, ...]``.
        start: x0, ``[d]``.
    """

    loss: Callable
    data: Any
    start: Array

    @property
    def n(self) -> int:
        """Number of clients."""
        return jc.layout.num_clients(self.data, "data")


def quadratic() -> Problem:
    """Five quadratics in four dimensions; float64 where that is on."""
    held = np.load(FILES / "quadratic.npz")

    def loss(x: Array, batch: Any, key: Any) -> Array:
        return 0.5 * x @ batch["A"] @ x - batch["b"] @ x

    data = {name: jnp.asarray(held[name]) for name in ("A", "b")}
    return Problem(loss, data, jnp.asarray(held["x0"]))


def mlp() -> Problem:
    """Five clients with 16 examples and a tanh network of 30 weights; float64 where that is on."""
    held = np.load(FILES / "mlp.npz")
    inputs, classes = held["X"].shape[-1], int(held["Y"].max()) + 1
    hidden = len(held["W"]) // (inputs + classes)

    def loss(w: Array, batch: Any, key: Any) -> Array:
        first, second = jnp.split(w, [inputs * hidden])
        logits = jnp.tanh(batch["x"] @ first.reshape(inputs, hidden)) @ second.reshape(hidden, -1)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    data = {"x": jnp.asarray(held["X"]), "y": jnp.asarray(held["Y"])}
    return Problem(loss, data, jnp.asarray(held["W"]))


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
