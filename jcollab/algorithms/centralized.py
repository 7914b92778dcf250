"""Centralized learning: one model trained on the data of all clients, the usual upper baseline."""

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
    """Client part of the state: model state ``[n, ...]`` that clients keep, or ``()``."""

    model_state: PyTree


class SharedModel(NamedTuple):
    """Shared part of the state: the model, its optimizer's state and an averaged model state."""

    params: PyTree
    opt_state: PyTree
    model_state: PyTree


def centralized(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    model_state: ModelState = "average",
) -> Algorithm:
    """Builds training of one model on the mean gradient of all clients' batches.

        x(t+1) = x(t) + u(t),    u(t) from  (1/n) sum_i grad f_i(x(t))

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: optimizer of the model, which receives the extra arguments of
            :mod:`jcollab.local.transforms`.
        model_state: how the state s of the model is treated, see
            :data:`jcollab.algorithms.ModelState`: averaged, ``s(t+1) = (1/n) sum_i s_i`` with s_i
            the state that client i's loss returns for s(t); kept by each client; or frozen.

    Returns:
        An algorithm with ``init(params, model_state=())``, stacked ``[n, ...]`` (training starts
        at their mean), and ``update(state, batch, key)`` with batch leaves ``[n, ...]``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if model_state is not one of the three values, or client axes differ between
            params, model_state and batch.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.5))
        >>> state = algorithm.init(jnp.zeros((2, 1)))
        >>> targets = jc.data.full_batch(jnp.array([[1.0], [3.0]]))  # the mean gradient at 0 is -2
        >>> state, metrics = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=1)
        >>> jc.params_of(state).tolist(), metrics["loss"].tolist()
        ([[1.0]], [2.5])
    """
    checks.optimizers(optimizer=optimizer)
    objective, how = lift(with_model_state(loss, model_state)), model_state
    gradient = gradient_of(objective)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        start = to_exchange(params, model_state, how)
        start = mean_over_clients(start)
        # not averaged: from_exchange returns the stacked model_state, which place gives to clients
        model, common = from_exchange(start, model_state, how)
        common, own = place(common, model_state, how)
        shared = SharedModel(model, optimizer.init(model), common)
        return State(Carried(own), shared, jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Carried)
        n = layout.num_clients((clients.model_state, batch), ("model_state", "batch"))
        params = state.shared.params
        given = (model_states(state, n), batch, layout.client_keys(key, n))
        # params are closed over, not mapped: one copy serves all clients
        grads, model_state, metrics = layout.per_client(
            lambda model_state, batch, key: gradient(params, model_state, batch, key)
        )(*given)
        grads, metrics = mean_over_clients(grads), mean_over_clients(metrics)
        # the same batches and keys as the gradient, as line searches require
        value_fn = mean_loss(objective, *given)
        shared = server_step(optimizer, state.shared, grads, metrics["loss"], value_fn, state.step)
        return after(state, shared, model_state), metrics

    return Algorithm(own_arrays(init), update)


def model_states(state: State, n: int) -> PyTree:
    """Returns the model state for each client's loss, ``[n, ...]``: the shared one or its own."""
    if jax.tree.leaves(state.shared.model_state):
        return replicate(state.shared.model_state, n)
    return state.clients.model_state


def after(state: State, shared: SharedModel, model_state: PyTree) -> State:
    """Returns the state after a round whose losses returned ``model_state``, ``[n, ...]``."""
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
    """Takes one step of the shared model with the clients' mean gradient."""
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
    """Builds ``(1/n) sum_i f_i(params)`` as a function of one model."""

    def value(params: PyTree) -> Array:
        each = layout.per_client(
            lambda model_state, batch, key: objective(params, model_state, batch, key)[0]
        )
        return jnp.mean(each(model_state, batch, keys))

    return value
