"""Centralised learning: one model on everybody's data, the bound that collaboration aims at."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, mean_metrics
from jcollab.core import Algorithm, Array, Metrics, PyTree, State, lift


class Carried(NamedTuple):
    """Client part of the state: what the loss carries along, ``[n, ...]``."""

    model_state: PyTree


class SharedModel(NamedTuple):
    """The one model and the state of its optimiser, without a client axis."""

    params: PyTree
    opt_state: PyTree


def centralized(loss: Callable, optimizer: optax.GradientTransformation) -> Algorithm:
    """One model, one optimiser, the mean gradient of all clients' batches.

        x(t+1) = x(t) + u(t),    u(t) from  (1/n) sum_i grad f_i(x(t))

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: the optimiser of the one model.

    Returns:
        An algorithm with ``init(params, model_state=())`` for stacked params ``[n, ...]``,
        whose mean is the start, and ``update(state, batch, key)`` with batch leaves ``[n, ...]``.

    Raises:
        TypeError: if ``loss`` has neither form.
        ValueError: if client axes differ between params, model_state and batch.
    """
    checks.parts(optimizer=optimizer)
    gradient = gradient_of(lift(loss))

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), "(params, model_state)")
        model = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0, dtype=leaf.dtype), params)
        return State(Carried(model_state), SharedModel(model, optimizer.init(model)), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        n = layout.num_clients((state.clients.model_state, batch), "(model_state, batch)")
        params, opt_state = state.shared
        grads, model_state, metrics = layout.per_client(
            lambda model_state, batch, key: gradient(params, model_state, batch, key)
        )(state.clients.model_state, batch, layout.client_keys(key, n))
        grads = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), grads)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        shared = SharedModel(optax.apply_updates(params, updates), opt_state)
        return State(Carried(model_state), shared, state.step + 1), mean_metrics(metrics)

    return Algorithm(init, update)
