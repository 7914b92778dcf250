"""Centralized learning: one model on the data of all clients, which bounds what others reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, mean_over_clients, optimizer_update
from jcollab.core import Algorithm, Array, Loss, Metrics, Objective, PyTree, State, lift


class Carried(NamedTuple):
    """Client part of the state: what the loss carries along, ``[n, ...]``."""

    model_state: PyTree


class SharedModel(NamedTuple):
    """The one model and the state of its optimizer, without a client axis."""

    params: PyTree
    opt_state: PyTree


def centralized(loss: Loss, optimizer: optax.GradientTransformation) -> Algorithm:
    """One model, one optimizer, the mean gradient of all clients' batches.

        x(t+1) = x(t) + u(t),    u(t) from  (1/n) sum_i grad f_i(x(t))

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: the optimizer of the one model, which gets the extra arguments of
            :mod:`jcollab.local.transforms`.

    Returns:
        An algorithm with ``init(params, model_state=())`` for stacked params ``[n, ...]``,
        whose mean is the start, and ``update(state, batch, key)`` with batch leaves ``[n, ...]``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if client axes differ between params, model_state and batch.
    """
    checks.parts(optimizer=optimizer)
    objective = lift(loss)
    gradient = gradient_of(objective)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), "(params, model_state)")
        model = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0, dtype=leaf.dtype), params)
        return State(Carried(model_state), SharedModel(model, optimizer.init(model)), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        n = layout.num_clients((state.clients.model_state, batch), "(model_state, batch)")
        params = state.shared.params
        given = (state.clients.model_state, batch, layout.client_keys(key, n))
        grads, model_state, metrics = layout.per_client(
            lambda model_state, batch, key: gradient(params, model_state, batch, key)
        )(*given)
        grads, metrics = mean_over_clients(grads), mean_over_clients(metrics)
        value_fn = mean_loss(objective, *given)
        shared = server_step(optimizer, state.shared, grads, metrics["loss"], value_fn, state.step)
        return State(Carried(model_state), shared, state.step + 1), metrics

    return Algorithm(init, update)


def server_step(
    optimizer: optax.GradientTransformation,
    shared: SharedModel,
    grads: PyTree,
    value: Array,
    value_fn: Callable[[PyTree], Array],
    step: Array,
) -> SharedModel:
    """One step of the one model with the clients' mean gradient."""
    params, opt_state = shared
    updates, opt_state = optimizer_update(
        optimizer,
        grads,
        opt_state,
        params,
        value=value,
        value_fn=value_fn,
        anchor=params,
        step=step,
    )
    return SharedModel(optax.apply_updates(params, updates), opt_state)


def mean_loss(
    objective: Objective, model_state: PyTree, batch: PyTree, keys: Array
) -> Callable[[PyTree], Array]:
    """``(1/n) sum_i f_i(params)`` as a function of the one model."""

    def value(params: PyTree) -> Array:
        each = layout.per_client(
            lambda model_state, batch, key: objective(params, model_state, batch, key)[0]
        )
        return jnp.mean(each(model_state, batch, keys))

    return value
