"""Federated learning: sampled clients train the server's model, the server takes the mean."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import channels, checks, layout
from jcollab.aggregators import weighted
from jcollab.aggregators.common import check_inputs, check_rule
from jcollab.algorithms.federated.cohort import update_of
from jcollab.algorithms.federated.round import FederatedClients, Server, Settings, one_round
from jcollab.algorithms.local_step import mean_over_clients
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
    Channel,
    Cohort,
    Loss,
    PyTree,
    Rule,
    State,
    lift,
    own_arrays,
    replicate,
    wide_dtype,
)
from jcollab.local import ClientMethod, fedavg


def federated(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    server_optimizer: optax.GradientTransformation | None = None,
    num_sampled: int | None = None,
    local_steps: int = 1,
    method: ClientMethod | None = None,
    rule: Rule | None = None,
    channel: Channel | None = None,
    weights: Any = None,
    num_steps: Any = None,
    dropout: Any = 0.0,
    honest: Any = None,
    keep_opt_state: bool = False,
    model_state: ModelState = "average",
    num_clients: int | None = None,
    chunk: int | None = None,
) -> Algorithm:
    """Federated averaging and its kin: the mean update of m clients, through a server optimizer.

        y_i = H local optimizer steps of client i from x,              i in S, |S| = m
        u   = sum_{i in S} p_i (y_i - x) / sum_{i in S} p_i
        x  <- server optimizer at x with the gradient -u

    A model with state s has one for all as well: ``s_i`` is what the local steps of client i make
    of s, and ``s <- s + sum_{i in S} p_i (s_i - s) / sum_{i in S} p_i``.

    The parts make the method: ``optax.sgd(1.0)`` at the server is FedAvg, with momentum FedAvgM;
    ``optax.adam``, ``optax.yogi`` and ``optax.adagrad`` are FedOpt; ``method`` is FedProx,
    SCAFFOLD, FedGA, FedDyn or FedNova; ``rule`` and ``channel`` are for byzantine clients.

    Args:
        loss: ``loss(params, batch, key)`` of ONE client, or of a model with state
            ``jc.stateful(loss)``, see :func:`jcollab.core.stateful`.
        optimizer: local optimizer; starts afresh in every round unless ``keep_opt_state``. It gets
            the extra arguments of :mod:`jcollab.local.transforms`. For rates that depend on the
            round, see :func:`jcollab.local.by_round`.
        server_optimizer: what the server does with the mean update, as a gradient; it gets the
            same extra arguments.
        num_sampled: m, clients in a round, drawn uniformly without replacement; None for all.
        local_steps: H >= 1.
        method: how clients and server correct the local steps, see :mod:`jcollab.local.methods`;
            None for FedAvg.
        rule: what the server makes of the updates, with its own update as 0; None for the mean,
            the only one that does not store all m updates at a time.
        channel: what happens to updates on their way to the server.
        weights: p_i >= 0, ``[n]``, for example the clients' numbers of examples, may be traced;
            None for equal ones.
        num_steps: local steps of each client, int ``[n]`` in 1..H, may be traced; None for H.
        dropout: probability that a sampled client drops out of the round: nothing of it is used,
            and what it keeps stays as it was. Where all drop out, the server keeps its model, and
            the round reports 0 as its loss and metrics.
        honest: bool ``[n]``, whose metrics are averaged; None for all.
        keep_opt_state: whether local optimizers go on in a client's next round.
        model_state: what becomes of the state of the model, see
            :data:`jcollab.algorithms.ModelState`: averaged as above, with a rule or channel in one
            message with the update; kept by each client, whose local steps begin with it; or
            frozen.
        num_clients: n, for params and model_state that are those of ONE model; None where they are
            stacked.
        chunk: clients that are vectorized together, see :func:`jcollab.layout.per_client`.

    Returns:
        An algorithm with ``init(params, model_state=())``. ``params`` are stacked ``[n, ...]`` and
        their mean is the start (or one model, see ``num_clients``), as those of ``model_state``
        where it is averaged. Its ``update`` takes batches from which sampled clients draw
        (:mod:`jcollab.data.batches`) or arrays ``[n, H, ...]``, one batch for each local step. It
        reports ``loss`` and the metrics of the loss as means over local steps and, with weights,
        over clients, and ``participants``, the number of clients that finish the round. Whatever a
        client keeps (``model_state="keep"``, what the method remembers) belongs to the client and
        survives rounds in which it is not sampled.

    Raises:
        TypeError: if ``loss`` is not callable, or a part is none.
        ValueError: if a number lies outside its range; at ``init``, if num_sampled > n, or weights
            are negative or do not sum to something positive.

    Source: McMahan et al. 2017, arXiv 1602.05629; FedOpt of Reddi et al. 2021, arXiv 2003.00295.
    """
    checks.counts(
        local_steps=local_steps, num_sampled=num_sampled, num_clients=num_clients, chunk=chunk
    )
    checks.number("dropout", dropout, at_least=0, below=1)
    checks.optimizers(optimizer=optimizer)
    method = fedavg() if method is None else method
    checks.kind(ClientMethod, method=method)
    if rule is not None:
        check_rule(rule)
    settings = Settings(
        objective=lift(with_model_state(loss, model_state)),
        optimizer=_with_method(method, optimizer),
        server_optimizer=optax.sgd(1.0) if server_optimizer is None else server_optimizer,
        num_sampled=num_sampled,
        local_steps=local_steps,
        method=method,
        rule=weighted() if rule is None else rule,
        channel=channels.reliable() if channel is None else channel,
        stacks=rule is not None or channel is not None,
        weights=weights,
        num_steps=num_steps,
        dropout=dropout,
        honest=honest,
        keep_opt_state=keep_opt_state,
        model_state=model_state,
        num_clients=num_clients,
        chunk=chunk,
    )
    checks.optimizers(server_optimizer=settings.server_optimizer)
    checks.kind(Channel, channel=settings.channel)

    def choose(key: Array, n: int) -> Array | None:
        if num_sampled is None or num_sampled == n:
            return None
        return layout.sample_clients(key, n, num_sampled)

    cohort = Cohort(choose, one_round(settings), local_steps)
    init = own_arrays(functools.partial(_init, settings))
    return Algorithm(init, update_of(cohort), cohort)


def _init(settings: Settings, params: PyTree, model_state: PyTree = ()) -> State:
    """The first state: nothing was trained, and every client keeps what its method begins with."""
    how, n = settings.model_state, settings.num_clients
    start = to_exchange(params, model_state, how)
    if n is None:
        n = layout.num_clients((params, model_state), ("params", "model_state"))
        start = mean_over_clients(start)
    elif how != "average":
        model_state = replicate(model_state, n)
    model, common = from_exchange(start, model_state, how)
    common, model_state = place(common, model_state, how)
    if settings.num_sampled is not None:
        checks.count("num_sampled", settings.num_sampled, 1, n)
    weights = _weights(settings.weights, n)
    own, memory = settings.method.init(model)
    zero = jax.tree.map(_wide_zeros, start)
    if settings.stacks:
        check_inputs(settings.rule, settings.num_sampled or n)

    clients = FederatedClients(
        weights,
        _num_steps(settings.num_steps, n, settings.local_steps),
        model_state,
        replicate(settings.optimizer.init(model), n) if settings.keep_opt_state else (),
        replicate(own, n),
        _channel_state(settings, zero, n) if settings.stacks else (),
    )
    server = Server(
        model,
        common,
        settings.server_optimizer.init(model),
        memory,
        settings.rule.init(zero) if settings.stacks else (),
        weights.sum(),
    )
    return State(clients, server, jnp.int32(0))


def _with_method(
    method: ClientMethod, optimizer: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    if method.transform is None:
        return optax.with_extra_args_support(optimizer)
    return optax.chain(method.transform, optimizer)


def _weights(weights: Any, n: int) -> Array:
    if weights is None:
        return jnp.ones(n)
    if np.shape(weights) != (n,):
        raise ValueError(f"weights must have shape [n={n}], got {list(np.shape(weights))}")
    checks.finite(weights=weights, at_least=0, arrays=True)
    if not checks.traced(weights) and not np.sum(weights) > 0:
        raise ValueError("weights must sum to something positive, got 0 for every client")
    return jnp.asarray(weights, jnp.result_type(float))


def _num_steps(num_steps: Any, n: int, most: int) -> Array | tuple[()]:
    if num_steps is None:
        return ()
    checks.integers("num_steps", num_steps, (f"n={n}",), at_least=1, at_most=most)
    return jnp.asarray(num_steps, jnp.int32)


def _wide_zeros(leaf: Array) -> Array:
    return jnp.zeros(jnp.shape(leaf), wide_dtype(leaf))


def _channel_state(settings: Settings, zero: PyTree, n: int) -> PyTree:
    def begin() -> PyTree:
        inbox = jax.tree.map(lambda leaf: jnp.zeros((1, n, *leaf.shape), leaf.dtype), zero)
        return jax.tree.map(lambda leaf: leaf[0], settings.channel.init(inbox))

    # most channels keep nothing, and the messages of all clients may be large
    state = jax.eval_shape(begin)
    if jax.tree.leaves(state) and settings.num_sampled not in (None, n):
        raise ValueError(
            "channel keeps messages from round to round, which needs all clients in every round: "
            f"num_sampled must be {n}, got {settings.num_sampled}"
        )
    return begin() if jax.tree.leaves(state) else state
