"""Federated learning: sampled clients train the server's model, and the server averages."""

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
from jcollab.algorithms.federated.parts import of_parts, optimizer_of_parts
from jcollab.algorithms.federated.round import one_round
from jcollab.algorithms.federated.state import FederatedClients, Parts, Server, Settings
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
    selected,
    split,
    wide_dtype,
)
from jcollab.local import ClientMethod, fedavg
from jcollab.local.sharing import as_sharing


def federated(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    server_optimizer: optax.GradientTransformation | None = None,
    num_sampled: int | None = None,
    local_steps: int = 1,
    method: ClientMethod | None = None,
    share: Any = None,
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
    """Builds federated averaging and its variants.

        y_i = H local optimizer steps of client i from x,              i in S, |S| = m
        u   = sum_{i in S} p_i (y_i - x) / sum_{i in S} p_i
        x  <- server optimizer at x with the gradient -u

    The state s of a model is averaged in the same way: ``s <- s + sum_{i in S} p_i (s_i - s) /
    sum_{i in S} p_i``, where ``s_i`` is the state after the local steps of client i from s.

    The parts determine the method: ``server_optimizer=optax.sgd(1.0)``, the default, gives FedAvg,
    with momentum FedAvgM; ``optax.adam``, ``optax.yogi`` and ``optax.adagrad`` give FedOpt;
    ``method`` gives FedProx, SCAFFOLD, FedGA, FedDyn or FedNova; ``rule`` and ``channel`` are for
    byzantine clients.

    Args:
        loss: ``loss(params, batch, key)`` of ONE client; for a model with state
            ``jc.stateful(loss)``, see :func:`jcollab.core.stateful`.
        optimizer: local optimizer, initialized in every round unless ``keep_opt_state``. It
            receives the extra arguments of :mod:`jcollab.local.transforms`. For rates that depend
            on the round, see :func:`jcollab.local.by_round`.
        server_optimizer: optimizer of the server's model, which receives the negative mean update
            as the gradient, and the same extra arguments.
        num_sampled: m, the number of clients in a round, drawn uniformly without replacement; None
            for all.
        local_steps: H >= 1.
        method: how clients and server correct the local steps, see :mod:`jcollab.local.methods`;
            None for FedAvg.
        share: the leaves that clients share, see :data:`jcollab.core.Select`, or a
            :func:`jcollab.local.sharing`, which names FedPer, FedRep and others. The rest is
            personal: it stays with the client, which trains it with the shared leaves when it is
            sampled. None shares the whole model.
        rule: how the server combines the updates (its own update is 0); None for the mean. Only
            the mean does not store all m updates at once.
        channel: what happens to updates in transit to the server; None for reliable links.
        weights: p_i >= 0, ``[n]``, for example the number of examples of each client; may be
            traced. None for equal weights.
        num_steps: local steps of each client, int ``[n]`` in 1..H, may be traced; None for H.
        dropout: probability that a sampled client drops out of the round, in [0, 1). Its results
            are then discarded, and its part of the state does not change. If all clients drop out,
            the server keeps its model, and the round reports 0 as its loss and metrics.
        honest: bool ``[n]``, the clients over which metrics are averaged; None for all.
        keep_opt_state: whether a client keeps the state of its local optimizer for its next round.
        model_state: how the state of the model is treated, see
            :data:`jcollab.algorithms.ModelState`: averaged as above (a rule or channel receives it
            in one message with the update); kept by each client, whose local steps start from it;
            or frozen.
        num_clients: n, if ``init`` receives params and model_state of ONE model; None if they are
            stacked.
        chunk: number of clients that are vectorized together, see
            :func:`jcollab.layout.per_client`.

    Returns:
        An algorithm with ``init(params, model_state=())``. ``params`` are stacked ``[n, ...]``, and
        training starts at their mean (or they are one model, see ``num_clients``); the same is
        true of ``model_state`` if it is averaged. Its ``update`` accepts batches from which sampled
        clients draw (:mod:`jcollab.data.batches`) or arrays ``[n, H, ...]``, one batch for each
        local step. It reports ``loss`` and the metrics of the loss as means over local steps and
        weighted means over clients, and ``participants``, the number of clients that finish the
        round. What a client keeps (its model state, the memory of the method) does not change in
        rounds in which it is not sampled.

    Raises:
        TypeError: if ``loss`` is not callable, or a part has a wrong type.
        ValueError: if a number lies outside its range; at ``init``, if num_sampled > n, ``share``
            selects no leaf, or weights are negative or their sum is 0.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.federated(loss, optax.sgd(0.5), local_steps=2, num_clients=2)
        >>> state = algorithm.init(jnp.zeros(1))
        >>> targets = jc.data.full_batch(jnp.array([[0.0], [8.0]]))  # clients reach 0 and 6
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=1)
        >>> jc.params_of(state).tolist()
        [[3.0]]

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
    sharing = as_sharing(share)
    own = optimizer if sharing is None else sharing.personal_optimizer or optimizer
    settings = Settings(
        objective=of_parts(lift(with_model_state(loss, model_state))),
        optimizer=optimizer_of_parts(_with_method(method, optimizer), own),
        server_optimizer=optax.sgd(1.0) if server_optimizer is None else server_optimizer,
        num_sampled=num_sampled,
        local_steps=local_steps,
        method=method,
        sharing=sharing,
        rule=weighted() if rule is None else rule,
        channel=channels.reliable() if channel is None else channel,
        # the mean over reliable links is computed as a running sum, without storing updates
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
        # None rather than a permutation of all clients: nothing is gathered or written back
        if num_sampled is None or num_sampled == n:
            return None
        return layout.sample_clients(key, n, num_sampled)

    cohort = Cohort(choose, one_round(settings), local_steps)
    init = own_arrays(functools.partial(_init, settings))
    return Algorithm(init, update_of(cohort), cohort)


def _init(settings: Settings, params: PyTree, model_state: PyTree = ()) -> State:
    """Builds the first state: the start model, and for every client the method's first memory."""
    how, n = settings.model_state, settings.num_clients
    personal: PyTree = ()
    if settings.sharing is not None:
        flags = selected(settings.sharing.select, params, "share")
        if not all(flags):
            params, personal = split(params, flags)
        elif settings.sharing.personal_steps is not None:
            raise ValueError("share must leave a part to personal_steps, got all of the model")
    start = to_exchange(params, model_state, how)
    if n is None:
        n = layout.num_clients((params, model_state), ("params", "model_state"))
        layout.num_clients((params, personal), ("params", "params"))
        start = mean_over_clients(start)
    else:
        personal = replicate(personal, n)
        model_state = model_state if how == "average" else replicate(model_state, n)
    model, common = from_exchange(start, model_state, how)
    common, model_state = place(common, model_state, how)
    if settings.num_sampled is not None:
        checks.count("num_sampled", settings.num_sampled, 1, n)
    weights = _weights(settings.weights, n)
    own, memory = settings.method.init(model)
    # an update of 0, in the type in which updates are sent: it gives rule and channel their shapes
    zero = jax.tree.map(_wide_zeros, start)
    if settings.stacks:
        check_inputs(settings.rule, settings.num_sampled or n)

    clients = FederatedClients(
        weights,
        _num_steps(settings.num_steps, n, settings.local_steps),
        personal,
        model_state,
        _opt_states(settings, model, personal, n) if settings.keep_opt_state else (),
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


def _opt_states(settings: Settings, model: PyTree, personal: PyTree, n: int) -> PyTree:
    init = settings.optimizer.init
    if not jax.tree.leaves(personal):
        return replicate(init(Parts(model, ())), n)
    return jax.vmap(lambda own: init(Parts(model, own)))(personal)


def _with_method(
    method: ClientMethod, optimizer: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    # the method changes gradients before the local optimizer does: a correction or a penalty is
    # part of the objective, and momentum or Adam's moments are computed from the changed gradient
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
        raise ValueError("weights must have a positive sum, got 0 for every client")
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

    # Most channels have no state, and an inbox with the messages of all clients may be large, so
    # its shape is evaluated first.
    state = jax.eval_shape(begin)
    if jax.tree.leaves(state) and settings.num_sampled not in (None, n):
        raise ValueError(
            f"num_sampled must be {n} with a channel that stores messages between rounds, got "
            f"{settings.num_sampled}"
        )
    return begin() if jax.tree.leaves(state) else state
