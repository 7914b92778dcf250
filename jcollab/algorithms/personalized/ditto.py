"""Ditto: personal models that are drawn towards a model which others train together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import mean_over_clients, step_of
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
    params_of,
)
from jcollab.data.batches import FullBatch, as_local
from jcollab.theory.averaging import squared_distance


class Personal(NamedTuple):
    """Client part of the state; every leaf is ``[n, ...]``.

    Attributes:
        params: personal models v.
        model_state: what the loss carries along with them.
        opt_state: of their optimizers.
        common: client part of the algorithm that trains the common model.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    common: PyTree


def ditto(
    algorithm: Algorithm,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    attraction: Any,
    local_steps: int = 1,
) -> Algorithm:
    """Beside any algorithm for common models w, every client trains one of its own, near it.

        v_i(t+1) = v_i(t) + u( grad f_i(v_i) + lambda (v_i - w_i(t)) )

    where ``w_i(t)`` is the client's copy of the common model at the start of the round, or the
    server's, and ``u`` the update of the optimizer. What happens to w does not depend on v.
    ``lambda = 0`` is to learn alone; with large ones v follows w.

    Args:
        algorithm: what trains the common model, for example ``federated(...)`` or
            ``decentralized(loss, optimizer, all_reduce())``; it sees the same data.
        loss: of the personal models, as for :func:`jcollab.decentralized`.
        optimizer: of the personal models.
        attraction: lambda >= 0; may be traced.
        local_steps: how many steps every v takes in a round, at least 1: on batches of its own
            where ``algorithm`` samples clients, otherwise all on the batch of the round.

    Returns:
        An algorithm with ``init(params, model_state=())``, params ``[n, ...]``;
        :func:`jcollab.params_of` gives the personal models.
        Metrics are those of v at its first step, and those of ``algorithm`` as ``common_NAME``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if lambda is negative or not finite, local_steps < 1, or client axes differ.

    Source: Li, Hu, Beirami and Smith 2021, arXiv 2012.04221.
    """
    checks.kind(Algorithm, algorithm=algorithm)
    checks.optimizers(optimizer=optimizer)
    checks.finite(at_least=0, attraction=attraction)
    checks.count("local_steps", local_steps)
    objective = lift(loss)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        opt_state = jax.vmap(optimizer.init)(params)
        common = algorithm.init(params, model_state)
        clients = Personal(params, model_state, opt_state, common.clients)
        return State(clients, common.shared, common.step)

    def local(
        pick: Callable[..., PyTree],
        params: PyTree,
        model_state: PyTree,
        opt_state: PyTree,
        center: PyTree,
        row: PyTree,
        common: PyTree,
        step: Array,
        key: Array,
    ) -> tuple:
        pick_key, step_key = jax.random.split(key)
        take = step_of(_near(objective, center, attraction), optimizer)

        def one(carry: tuple, k: Array) -> tuple[tuple, Metrics]:
            params, model_state, opt_state = carry
            batch = pick(row, common, pick_key, k)
            key = jax.random.fold_in(step_key, k)
            own = take(params, model_state, opt_state, batch, key, anchor=center, step=step)
            params = optax.apply_updates(params, own.updates)
            return (params, own.model_state, own.opt_state), own.metrics

        carry, metrics = jax.lax.scan(
            one, (params, model_state, opt_state), jnp.arange(local_steps)
        )
        return carry, jax.tree.map(lambda leaf: leaf[0], metrics)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Personal)
        # an algorithm of all clients gets one batch, in which every local step is taken
        batches = FullBatch(batch) if algorithm.cohort is None else as_local(batch)
        drawn = batches.rows(None, local_steps)
        n = layout.num_clients((clients.params, drawn.own), ("params", "batch"))
        common_key, local_key = jax.random.split(key)
        before = State(clients.common, state.shared, state.step)
        after, common_log = algorithm.update(before, batch, common_key)
        center = jax.tree.map(
            lambda w, v: jnp.broadcast_to(w, v.shape), params_of(before), clients.params
        )
        (params, model_state, opt_state), metrics = layout.per_client(
            functools.partial(local, drawn.pick), in_axes=(0, 0, 0, 0, 0, None, None, 0)
        )(
            clients.params,
            clients.model_state,
            clients.opt_state,
            center,
            drawn.own,
            drawn.common,
            state.step,
            layout.client_keys(local_key, n),
        )
        log = {f"common_{name}": value for name, value in common_log.items()}
        clients = Personal(params, model_state, opt_state, after.clients)
        return State(clients, after.shared, after.step), mean_over_clients(metrics) | log

    cohort = algorithm.cohort and algorithm.cohort._replace(round=None)
    return algorithm._replace(init=own_arrays(init), update=update, cohort=cohort)


def _near(objective: Objective, center: PyTree, attraction: Any) -> Objective:
    """``f(v) + (lambda/2) ||v - w||^2``, which reports f as its loss."""

    def near(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        value, (model_state, metrics) = objective(params, model_state, batch, key)
        pull = 0.5 * attraction * squared_distance(params, center)
        return value + pull.astype(value.dtype), (model_state, {"loss": value, **metrics})

    return near
