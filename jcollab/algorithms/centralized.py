"""Centralized learning: one model on the data of all clients, which bounds what others reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, mean_over_clients, optimizer_update
from jcollab.algorithms.model_state import (
    ModelState,
    from_exchange,
    place,
    to_exchange,
    with_model_state,
)
from jcollab.core import (
    Algorithm,
    Array,
    Loss,
    Metrics,
    Objective,
    PyTree,
    State,
    clients_of,
    lift,
    own_arrays,
    replicate,
)


class Carried(NamedTuple):
    """Client part of the state: the state of the model ``[n, ...]``, where clients keep theirs."""

    model_state: PyTree


class SharedModel(NamedTuple):
    """The one model, the state of its optimizer, and its own, without a client axis."""

    params: PyTree
    opt_state: PyTree
    model_state: PyTree


def centralized(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    model_state: ModelState = "average",
) -> Algorithm:
    """One model, one optimizer, the mean gradient of all clients' batches.

        x(t+1) = x(t) + u(t),    u(t) from  (1/n) sum_i grad f_i(x(t))

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: the optimizer of the one model, which gets the extra arguments of
            :mod:`jcollab.local.transforms`.
        model_state: what becomes of the state s of the model, see
            :data:`jcollab.algorithms.ModelState`: averaged, ``s(t+1) = (1/n) sum_i s_i`` with s_i
            what the loss returns of s(t), kept by each client, or frozen.

    Returns:
        An algorithm with ``init(params, model_state=())``, stacked ``[n, ...]``, whose mean is the
        start, and ``update(state, batch, key)`` with batch leaves ``[n, ...]``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if model_state is none of the three, or client axes differ between params,
            model_state and batch.
    """
    checks.optimizers(optimizer=optimizer)
    objective, how = lift(with_model_state(loss, model_state)), model_state
    gradient = gradient_of(objective)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        start = to_exchange(params, model_state, how)
        start = mean_over_clients(start)
        model, common = from_exchange(start, model_state, how)
        common, own = place(common, model_state, how)
        shared = SharedModel(model, optimizer.init(model), common)
        return State(Carried(own), shared, jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Carried)
        n = layout.num_clients((clients.model_state, batch), ("model_state", "batch"))
        params = state.shared.params
        given = (model_states(state, n), batch, layout.client_keys(key, n))
        grads, model_state, metrics = layout.per_client(
            lambda model_state, batch, key: gradient(params, model_state, batch, key)
        )(*given)
        grads, metrics = mean_over_clients(grads), mean_over_clients(metrics)
        value_fn = mean_loss(objective, *given)
        shared = server_step(optimizer, state.shared, grads, metrics["loss"], value_fn, state.step)
        return after(state, shared, model_state), metrics

    return Algorithm(own_arrays(init), update)


def model_states(state: State, n: int) -> PyTree:
    """What the loss of each client is given, ``[n, ...]``: its own, or that of the one model."""
    if jax.tree.leaves(state.shared.model_state):
        return replicate(state.shared.model_state, n)
    return state.clients.model_state


def after(state: State, shared: SharedModel, model_state: PyTree) -> State:
    """The state after a round, whose losses have returned ``model_state``, ``[n, ...]``."""
    clients = Carried(model_state)
    if jax.tree.leaves(shared.model_state):
        clients = Carried(())
        shared = shared._replace(model_state=mean_over_clients(model_state))
    return State(clients, shared, state.step + 1)


def server_step(
    optimizer: optax.GradientTransformation,
    shared: SharedModel,
    grads: PyTree,
    value: Array,
    value_fn: Callable[[PyTree], Array],
    step: Array,
) -> SharedModel:
    """One step of the one model with the clients' mean gradient."""
    params, opt_state = shared.params, shared.opt_state
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
    return shared._replace(params=optax.apply_updates(params, updates), opt_state=opt_state)


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
