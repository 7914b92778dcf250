"""Federated learning: sampled clients train the server's model, the server takes the mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import channels, layout
from jcollab.aggregators import Rule, StatefulRule, check_neighborhoods, weighted
from jcollab.aggregators.common import as_stateful
from jcollab.algorithms.federated.cohort import Cohort, as_algorithm
from jcollab.algorithms.federated.round import (
    FederatedClients,
    Server,
    Settings,
    one_round,
)
from jcollab.core import Algorithm, Array, Channel, PyTree, State, check_parts, lift
from jcollab.data import sources
from jcollab.local import Drift
from jcollab.local import drift as drifts
from jcollab.local.transforms import applies_corrections


def federated(loss: Callable, optimizer: optax.GradientTransformation, **options: Any) -> Algorithm:
    """Federated averaging and its kin: the mean update of m clients, through a server optimiser.

        y_i = H local optimiser steps of client i from x,              i in S, |S| = m
        u   = sum_{i in S} p_i (y_i - x) / sum_{i in S} p_i
        x  <- server optimiser at x with the gradient -u

    The parts make the method: ``optax.sgd(1.0)`` at the server is FedAvg, with momentum FedAvgM,
    ``optax.adam``, ``optax.yogi`` and ``optax.adagrad`` are FedOpt; ``proximal(mu)`` in the local
    optimiser is FedProx; ``drift`` is SCAFFOLD, FedGA or FedDyn; ``length`` is FedNova; ``rule``
    and ``channel`` bear byzantine clients.

    Args:
        loss: ``loss(params, batch, key)`` or ``loss(params, model_state, batch, key)`` of ONE
            client, see :func:`jcollab.core.lift`.
        optimizer: local optimiser; starts afresh in every round unless ``keep_opt_state``.
        server_optimizer: what the server does with the mean update, as a gradient.
        num_sampled: m, clients in a round, drawn uniformly without replacement; None for all.
        local_steps: H >= 1.
        source: where clients find the batches of their steps, see :mod:`jcollab.data.sources`;
            None for batch leaves ``[n, H, ...]``, one batch for each step.
        drift: correction of client drift, see :mod:`jcollab.local.drift`.
        length: ``length(steps) -> a``: updates are divided by the length of the local run, and
            their mean multiplied by the mean length (``jcollab.local.normalized``); for clients
            that take different numbers of steps.
        rule: what the server makes of the updates, with its own update as 0; None for the mean,
            which alone does not hold all m updates at a time.
        channel: what happens to updates on their way to the server.
        dropout: probability that a sampled client drops out of the round: nothing of it is used,
            and what it keeps stays as it was. Without anybody left the server keeps its model.
        honest: bool ``[n]``, whose metrics are averaged; None for all.
        keep_opt_state: whether local optimisers go on in a client's next round.
        num_clients: n, for params that are those of ONE model; None where they are stacked.
        chunk: clients that are vectorised together, see :func:`jcollab.layout.per_client`.

    Returns:
        An algorithm with ``init(key, params, model_state=(), *, weights=None, num_steps=None)`` and
        ``update(state, batch, key)``. ``params`` are stacked ``[n, ...]`` and their mean is the
        start (or one model, see ``num_clients``), ``model_state`` is stacked; ``weights`` are p_i
        >= 0, ``[n]``, the clients' numbers of examples say, None for equal ones; ``num_steps`` are
        local steps of each client, int ``[n]`` in 1..H, None for H. It reports ``loss`` and the
        metrics of the loss as means over local steps and, with weights, over clients, and
        ``participants``, the number of clients that were heard. Whatever a client keeps
        (``model_state``, memory of the drift) belongs to the client and survives rounds in which it
        is not sampled.

    Raises:
        TypeError: if ``loss`` has neither form.
        ValueError: if a number lies outside its range; at ``init``, if num_sampled > n, weights are
            negative or do not sum to something positive, or the optimiser leaves out the
            corrections of the drift.

    Source: McMahan et al. 2017, arXiv 1602.05629; FedOpt of Reddi et al. 2021, arXiv 2003.00295.
    """
    check_parts(optimizer=optimizer)
    return as_algorithm(federated_cohort(loss, optimizer, **options))


def federated_cohort(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    *,
    server_optimizer: optax.GradientTransformation | None = None,
    num_sampled: int | None = None,
    local_steps: int = 1,
    source: sources.Source | None = None,
    drift: Drift | None = None,
    length: Callable[[Array], Array] | None = None,
    rule: Rule | StatefulRule | None = None,
    channel: Channel | None = None,
    dropout: Any = 0.0,
    honest: Any = None,
    keep_opt_state: bool = False,
    num_clients: int | None = None,
    chunk: int | None = None,
) -> Cohort:
    """:func:`federated` in parts, with the same arguments."""
    for name, least, value in (
        ("local_steps", 1, local_steps),
        ("num_sampled", 1, 1 if num_sampled is None else num_sampled),
        ("num_clients", 1, 1 if num_clients is None else num_clients),
        ("chunk", 1, 1 if chunk is None else chunk),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if not isinstance(dropout, jax.core.Tracer) and not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    settings = Settings(
        objective=lift(loss),
        optimizer=optax.with_extra_args_support(optimizer),
        server_optimizer=optax.sgd(1.0) if server_optimizer is None else server_optimizer,
        local_steps=local_steps,
        source=sources.stacked() if source is None else source,
        drift=drifts.none() if drift is None else drift,
        length=length,
        rule=as_stateful(weighted() if rule is None else rule),
        channel=channels.reliable() if channel is None else channel,
        stacks=rule is not None or channel is not None,
        dropout=dropout,
        honest=honest,
        keep_opt_state=keep_opt_state,
        chunk=chunk,
    )

    def init(
        key: Array,
        params: PyTree,
        model_state: PyTree = (),
        *,
        weights: Any = None,
        num_steps: Any = None,
    ) -> State:
        model, n = params, num_clients
        if n is None:
            n = layout.num_clients((params, model_state), "(params, model_state)")
            model = jax.tree.map(lambda leaf: jnp.mean(leaf, 0, dtype=leaf.dtype), params)
        if num_sampled is not None and num_sampled > n:
            raise ValueError(
                f"num_sampled must be in 1..{n} (the number of clients), got {num_sampled}"
            )
        weights, num_steps = _weights(weights, n), _num_steps(num_steps, n, local_steps)
        opt_state = settings.optimizer.init(model)
        if settings.drift.corrects and not applies_corrections(opt_state):
            raise ValueError(
                "optimizer must apply the corrections of drift: "
                "optax.chain(jcollab.local.control_variate(), optimizer)"
            )
        own, memory = settings.drift.init(model)
        zero = jax.tree.map(_wide_zeros, model)
        channel_state: PyTree = ()
        if rule is not None:
            check_neighborhoods(rule, num_sampled or n)
        if channel is not None:
            channel_state = _channel_state(channel, zero, n)
            if jax.tree.leaves(channel_state) and num_sampled not in (None, n):
                raise ValueError(
                    "channel keeps messages from round to round, which needs all clients in every "
                    f"round: num_sampled must be {n}, got {num_sampled}"
                )

        def each(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), tree)

        clients = FederatedClients(
            weights,
            num_steps,
            model_state,
            each(opt_state) if keep_opt_state else (),
            each(own),
            channel_state,
        )
        server = Server(
            model,
            settings.server_optimizer.init(model),
            memory,
            settings.rule.init(zero) if settings.stacks else (),
            weights.sum(),
        )
        return State(clients, server, jnp.int32(0))

    def choose(key: Array, n: int) -> Array | None:
        if num_sampled is None or num_sampled == n:
            return None
        return layout.sample_clients(key, n, num_sampled)

    def take(batch: PyTree, numbers: Array | None) -> tuple[PyTree, PyTree]:
        return settings.source.rows(batch, numbers, local_steps)

    return Cohort(init, choose, one_round(settings), take, settings.source.gather)


# what help() and editors show; the arguments are written down once
setattr(  # noqa: B010
    federated,
    "__signature__",
    inspect.signature(federated_cohort).replace(return_annotation="Algorithm"),
)


def _weights(weights: Any, n: int) -> Array:
    if weights is None:
        return jnp.ones(n)
    values = np.asarray(weights, float)
    if values.shape != (n,):
        raise ValueError(f"weights must have shape [n={n}], got {list(values.shape)}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"weights must be finite and not negative, got {values.min()}")
    if not values.sum() > 0:
        raise ValueError("weights must sum to something positive, got 0 for every client")
    return jnp.asarray(values, jnp.result_type(float))


def _num_steps(num_steps: Any, n: int, most: int) -> Array | tuple[()]:
    if num_steps is None:
        return ()
    values = np.asarray(num_steps)
    if values.shape != (n,):
        raise ValueError(f"num_steps must have shape [n={n}], got {list(values.shape)}")
    if (values < 1).any() or (values > most).any():
        raise ValueError(
            f"num_steps must be in 1..{most} (local_steps), got {values.min()}..{values.max()}"
        )
    return jnp.asarray(values, jnp.int32)


def _wide_zeros(leaf: Array) -> Array:
    return jnp.zeros(jnp.shape(leaf), jnp.promote_types(leaf.dtype, jnp.float32))


def _channel_state(channel: Channel, zero: PyTree, n: int) -> PyTree:
    def begin() -> PyTree:
        inbox = jax.tree.map(lambda leaf: jnp.zeros((1, n, *leaf.shape), leaf.dtype), zero)
        return jax.tree.map(lambda leaf: leaf[0], channel.init(inbox))

    # most channels keep nothing, and the messages of all clients may be large
    return begin() if jax.tree.leaves(jax.eval_shape(begin)) else jax.eval_shape(begin)
