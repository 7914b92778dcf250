"""Ditto: personal models with a penalty on their distance to a common model."""

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
        model_state: their states.
        opt_state: states of their optimizers.
        common: client part of the state of the algorithm that trains the common model.
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
    """Adds personal models v to any algorithm that trains common models w.

        v_i(t+1) = v_i(t) + u( grad f_i(v_i) + lambda (v_i - w_i(t)) )

    where ``w_i(t)`` is the common model at the start of the round (the client's copy, or the
    server's model) and ``u`` is the update of the optimizer. The training of w does not depend on
    v. With ``lambda = 0`` every client learns alone; for large lambda, v follows w.

    Args:
        algorithm: algorithm that trains the common model, for example ``federated(...)`` or
            ``decentralized(loss, optimizer, all_reduce())``; it receives the same data.
        loss: loss of the personal models, as for :func:`jcollab.decentralized`.
        optimizer: optimizer of the personal models.
        attraction: lambda >= 0, a number (possibly traced).
        local_steps: number of steps of every v in a round, at least 1. Each step draws its own
            batch if ``algorithm`` is federated; otherwise all steps use the batch of the round.

    Returns:
        An algorithm with ``init(params, model_state=())``, params ``[n, ...]``;
        :func:`jcollab.params_of` returns the personal models. It reports the metrics of v at the
        first local step, and the metrics of ``algorithm`` as ``common_NAME``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if lambda is negative or not finite, local_steps < 1, or client axes differ.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> common = jc.decentralized(loss, optax.sgd(0.5), jc.all_reduce())
        >>> algorithm = jc.algorithms.ditto(common, loss, optax.sgd(0.25), attraction=1.0)
        >>> state = algorithm.init(jnp.zeros((2, 1)))
        >>> targets = jc.data.full_batch(jnp.array([[0.0], [8.0]]))
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=60)
        >>> jc.params_of(state).round(2).tolist()  # halfway between the target and w = 4
        [[2.0], [6.0]]

    Source: Li, Hu, Beirami and Smith 2021, arXiv 2012.04221.
    """
    checks.kind(Algorithm, algorithm=algorithm)
    checks.optimizers(optimizer=optimizer)
    checks.finite(at_least=0, attraction=attraction)
    checks.count("local_steps", local_steps)
    train = functools.partial(_train, lift(loss), optimizer, attraction, local_steps)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        opt_state = jax.vmap(optimizer.init)(params)
        common = algorithm.init(params, model_state)
        clients = Personal(params, model_state, opt_state, common.clients)
        return State(clients, common.shared, common.step)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Personal)
        # An algorithm of all clients receives one batch, which every local step uses. A federated
        # one receives an object from which its clients draw; the personal models draw from it too.
        batches = FullBatch(batch) if algorithm.cohort is None else as_local(batch)
        drawn = batches.rows(None, local_steps)
        n = layout.num_clients((clients.params, drawn.own), ("params", "batch"))
        common_key, local_key = jax.random.split(key)
        # w is read before the algorithm's update: both models start the round from w(t)
        before = State(clients.common, state.shared, state.step)
        after, common_log = algorithm.update(before, batch, common_key)
        # a server's model has a client axis of length 1
        center = jax.tree.map(
            lambda w, v: jnp.broadcast_to(w, v.shape), params_of(before), clients.params
        )
        (params, model_state, opt_state), metrics = layout.per_client(
            functools.partial(train, drawn.pick), in_axes=(0, 0, 0, 0, 0, None, None, 0)
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

    # The cohort remains, so that runs pass batches to draw from. Its round is dropped: every client
    # trains its personal model in every round, so the state cannot stay in host memory.
    cohort = algorithm.cohort and algorithm.cohort._replace(round=None)
    return algorithm._replace(init=own_arrays(init), update=update, cohort=cohort)


def _train(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    attraction: Any,
    local_steps: int,
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
    """Takes the local steps of one personal model."""
    pick_key, step_key = jax.random.split(key)
    take = step_of(_near(objective, center, attraction), optimizer)

    def one(carry: tuple, k: Array) -> tuple[tuple, Metrics]:
        params, model_state, opt_state = carry
        batch = pick(row, common, pick_key, k)
        key = jax.random.fold_in(step_key, k)
        own = take(params, model_state, opt_state, batch, key, anchor=center, step=step)
        params = optax.apply_updates(params, own.updates)
        return (params, own.model_state, own.opt_state), own.metrics

    carry, metrics = jax.lax.scan(one, (params, model_state, opt_state), jnp.arange(local_steps))
    return carry, jax.tree.map(lambda leaf: leaf[0], metrics)


def _near(objective: Objective, center: PyTree, attraction: Any) -> Objective:
    """Builds ``f(v) + (lambda/2) ||v - w||^2``, which reports f without the penalty as its loss."""

    def near(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        value, (model_state, metrics) = objective(params, model_state, batch, key)
        pull = 0.5 * attraction * squared_distance(params, center)
        return value + pull.astype(value.dtype), (model_state, {"loss": value, **metrics})

    return near
