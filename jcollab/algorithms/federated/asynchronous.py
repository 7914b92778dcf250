"""Asynchronous learning: clients of different speeds and a server that does not wait for them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, mean_over_clients, optimizer_update, step_of
from jcollab.algorithms.model_state import (
    ModelState,
    change,
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
    weighed,
    widen,
)
from jcollab.theory.arrivals import Arrivals, as_array, check


class FetchedModels(NamedTuple):
    """Client part of the state; every leaf is ``[n, ...]``.

    Attributes:
        model: the model that each client fetched last, at which it computes its next gradient.
        model_state: states of the models; fetched with the model where they are averaged.
        since: int32 ``[n]``, the server's version when the client fetched its model.
    """

    model: PyTree
    model_state: PyTree
    since: Array


class Server(NamedTuple):
    """Shared part of the state.

    Attributes:
        params: the newest model.
        model_state: its state, where it is averaged.
        opt_state: state of the server's optimizer.
        buffer: sum of the updates since the last server step; ``()`` for a step at each arrival.
        waiting: int32 ``[]``, number of these updates.
        delays: float ``[]``, sum of their delays.
        version: int32 ``[]``, number of server steps.
        arrivals: the schedule.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    buffer: PyTree
    waiting: Array
    delays: Array
    version: Array
    arrivals: Arrivals

    @property
    def length(self) -> int:
        """T, the number of arrivals, which is the number of rounds."""
        return jnp.shape(self.arrivals.client)[-1]


def asynchronous(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    arrivals: Arrivals | Any,
    *,
    buffer_size: Any = 1,
    weigh: Callable[[Array], Array] | None = None,
    local_optimizer: optax.GradientTransformation | None = None,
    model_state: ModelState = "average",
) -> Algorithm:
    """Builds asynchronous SGD: the server uses each gradient when it arrives, however old it is.

        x(t+1) = x(t) + u(t),    u(t) from  w(tau) grad f_i( x(t - tau) )

    One round is one arrival: client i of the schedule sends its gradient and fetches the newest
    model. The delay tau is the number of server steps since the client fetched its model; it
    follows from the schedule and is reported. With ``buffer_size`` K, the server takes a step at
    every K-th arrival, with the mean of the last K updates (FedBuff).

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: the server's optimizer. It receives the extra arguments of
            :func:`jcollab.decentralized`, with the reported loss as ``value``, and ``delay``, the
            mean delay of the updates of a step, for :func:`jcollab.local.scale_by_delay`.
        arrivals: the schedule, from :mod:`jcollab.theory.arrivals`, or indices of clients, int
            ``[T]``; may be traced. It becomes part of the state, and a run has at most T rounds.
        buffer_size: K >= 1, an integer (possibly traced).
        weigh: ``weigh(delay) -> w``, the weight of each update; None for 1. FedBuff uses
            ``polynomial_staleness(0.5)``.
        local_optimizer: if given, a client takes H steps with it, from a new optimizer state, on
            batch leaves ``[n, H, ...]``, and sends ``x_start - x_H`` instead of a gradient. Its
            ``anchor`` is the fetched model.
        model_state: how the state s of the model is treated, see
            :data:`jcollab.algorithms.ModelState`: averaged (a client fetches s with the model and
            sends ``w (s_i - s)``, where s_i is its state after its local steps; the server adds
            the mean of what arrives); kept by each client; or frozen.

    Returns:
        An algorithm with ``init(params, model_state=())``, stacked ``[n, ...]`` (training starts
        at their mean), and ``update(state, batch, key)``. Batch leaves are ``[n, ...]``, of which
        only the arriving client's row is used, or ``[1, ...]``, that row alone. It reports
        ``loss`` and the metrics of the loss at the fetched model (or at the last local step),
        ``client``, ``delay`` and ``time``. Where the schedule contains -1, no client arrives and
        nothing changes.

    Raises:
        TypeError: if ``loss`` or ``weigh`` is not callable, or the schedule does not contain
            integers.
        ValueError: if buffer_size < 1 or the schedule is empty; in ``init``, if it names missing
            clients; or client axes differ.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> arrivals = np.array([0, 0, 1])  # client 0 is twice as fast
        >>> algorithm = jc.algorithms.asynchronous(loss, optax.sgd(0.5), arrivals)
        >>> state = algorithm.init(jnp.zeros((2, 1)))
        >>> targets = jc.data.full_batch(jnp.array([[8.0], [-8.0]]))
        >>> state, metrics = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=3)
        >>> metrics["delay"].tolist()
        [0, 0, 2]
        >>> jc.params_of(state).tolist()  # 0 + 4 + 2 - 4: the last gradient is that at 0
        [[2.0]]

    Source: Stich, Mohtashami and Jaggi 2021, arXiv 2103.02351; Nguyen et al. 2022,
    arXiv 2106.06639 (FedBuff).
    """
    checks.optimizers(optimizer=optimizer, local_optimizer=local_optimizer or optimizer)
    checks.count("buffer_size", buffer_size)
    if weigh is not None:
        checks.scalar_function("weigh", weigh, jnp.int32(0))
    schedule = _schedule(arrivals)
    objective = lift(with_model_state(loss, model_state))
    work = _work(objective, local_optimizer)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        fetched, shared = clients_of(state, FetchedModels), state.shared
        n = layout.num_clients((fetched.model, fetched.model_state), ("params", "model_state"))
        if (given := layout.num_clients(batch, "batch")) not in (1, n):
            raise ValueError(
                f"batch must lead with n={n}, or 1 for the arriving client, got {given}"
            )
        turn = state.step % shared.arrivals.client.shape[0]
        client, time = shared.arrivals.client[turn], shared.arrivals.time[turn]
        # -1 is not a client: the round is computed for client 0, since shapes are static, and its
        # results are discarded below.
        i, came = jnp.maximum(client, 0), client >= 0
        # The gradient is computed when it arrives, at the model that the client fetched earlier.
        # This gives the same numbers as computing it in between, and only one client is computed.
        model, model_state = jax.tree.map(
            lambda leaf: leaf[i], (fetched.model, fetched.model_state)
        )
        own = jax.tree.map(lambda leaf: leaf[i if given == n else 0], batch)

        # by index of the client, as layout.client_keys does for algorithms of all clients
        own_key = jax.random.fold_in(key, i)
        handed, new_model_state, metrics = work(model, model_state, own, own_key, state.step)
        averaged = bool(jax.tree.leaves(shared.model_state))
        if averaged:
            handed = to_exchange(handed, change(model_state, new_model_state))
        # in server steps, not in arrivals: with a buffer, K arrivals make one step
        delay = shared.version - fetched.since[i]
        if weigh is not None:
            factor = jnp.asarray(weigh(delay))
            handed = optax.tree.cast_like(weighed(factor, handed), handed)

        def loss_at(params: PyTree) -> Array:
            batch, key = own, own_key
            if local_optimizer is not None:  # the batch and key of the last local step
                keys = _step_keys(own_key, own)
                batch, key = jax.tree.map(lambda leaf: leaf[-1], (own, keys))
            return objective(params, model_state, batch, key)[0]

        extra = {"value": metrics["loss"], "value_fn": loss_at, "step": state.step}
        received = _receive(optimizer, buffer_size, shared, handed, delay, extra)
        shared = optax.tree.where(came, received, shared)
        if averaged:
            new_model_state = shared.model_state

        # after the server's step: the client fetches the model that its own update has changed
        fresh = FetchedModels(shared.params, new_model_state, shared.version)
        clients = jax.tree.map(
            lambda rows, new: rows.at[i].set(jnp.where(came, new, rows[i])), fetched, fresh
        )
        log: Metrics = {**metrics, "client": client, "delay": delay, "time": time}
        return State(clients, shared, state.step + 1), log

    init = functools.partial(_init, optimizer, schedule, buffer_size, model_state)
    return Algorithm(own_arrays(init), update)


def _init(
    optimizer: optax.GradientTransformation,
    schedule: Arrivals,
    buffer_size: Any,
    how: ModelState,
    params: PyTree,
    model_state: PyTree = (),
) -> State:
    """Builds the first state: all clients fetch the mean model at version 0."""
    n = layout.num_clients((params, model_state), ("params", "model_state"))
    check(schedule.client, n, "arrivals", lowest=-1)
    start = to_exchange(params, model_state, how)
    start = mean_over_clients(start)
    model, common = from_exchange(start, model_state, how)
    common, _ = place(common, model_state, how)
    models, fetched = from_exchange(replicate(start, n), model_state, how)
    # Without a buffer, the server needs no second copy of the model. A traced size (a sweep
    # over K) always has one, since shapes must not depend on a value.
    single = not checks.traced(buffer_size) and buffer_size == 1
    buffer = () if single else optax.tree.zeros_like(jax.tree.map(widen, start))
    none, opt_state = jnp.int32(0), optimizer.init(model)
    shared = Server(model, common, opt_state, buffer, none, jnp.zeros(()), none, schedule)
    return State(FetchedModels(models, fetched, jnp.zeros(n, jnp.int32)), shared, none)


def _work(
    objective: Objective, local_optimizer: optax.GradientTransformation | None
) -> Callable[..., tuple[PyTree, PyTree, Metrics]]:
    """Builds ``work(model, model_state, batch, key, step) -> (update, model_state, metrics)``."""
    if local_optimizer is None:
        gradient = gradient_of(objective)
        return lambda model, model_state, batch, key, step: gradient(model, model_state, batch, key)
    take = step_of(objective, local_optimizer)

    def work(
        model: PyTree, model_state: PyTree, batch: PyTree, key: Array, step: Array
    ) -> tuple[PyTree, PyTree, Metrics]:
        def local(carry: tuple, given: tuple) -> tuple[tuple, Metrics]:
            params, model_state, opt_state = carry
            own = take(params, model_state, opt_state, *given, anchor=model, step=step)
            params = optax.apply_updates(params, own.updates)
            return (params, own.model_state, own.opt_state), own.metrics

        keys = _step_keys(key, batch)
        begin = (model, model_state, local_optimizer.init(model))
        (end, model_state, _), metrics = jax.lax.scan(local, begin, (batch, keys))
        last: Metrics = jax.tree.map(lambda leaf: leaf[-1], metrics)
        # start minus end, so that the server's optimizer can use it like a gradient
        return optax.tree.cast_like(optax.tree.sub(model, end), model), model_state, last

    return work


def _step_keys(key: Array, batch: PyTree) -> Array:
    return jax.random.split(key, layout.num_clients(batch, "batch of a client"))


def _receive(
    optimizer: optax.GradientTransformation,
    buffer_size: Any,
    shared: Server,
    handed: PyTree,
    delay: Array,
    extra: dict[str, Any],
) -> Server:
    """Returns the server after an update arrives, with a step if the buffer is full."""
    waiting, delays = shared.waiting + 1, shared.delays + delay.astype(shared.delays.dtype)
    mean, buffer = handed, shared.buffer
    single = not jax.tree.leaves(buffer)
    if not single:
        buffer = optax.tree.add(buffer, jax.tree.map(widen, handed))
        mean = jax.tree.map(lambda b, h: (b / buffer_size).astype(h.dtype), buffer, handed)
    # The step is always computed, and selected if the buffer is full. A lax.cond would become the
    # same selection when runs are vectorized over seeds.
    mean, moved = from_exchange(mean, shared.model_state)
    old, mean_delay = shared.params, delays / buffer_size
    updates, opt_state = optimizer_update(
        optimizer, mean, shared.opt_state, old, anchor=old, delay=mean_delay, **extra
    )
    params, common = optax.apply_updates((old, shared.model_state), (updates, moved))
    empty, none, nothing = optax.tree.zeros_like((buffer, waiting, delays))
    version, schedule = shared.version + 1, shared.arrivals
    stepped = Server(params, common, opt_state, empty, none, nothing, version, schedule)
    if single:
        return stepped
    full = waiting == buffer_size
    collected = shared._replace(buffer=buffer, waiting=waiting, delays=delays)
    return optax.tree.where(full, stepped, collected)


def _schedule(arrivals: Any) -> Arrivals:
    if not isinstance(arrivals, Arrivals):
        arrivals = as_array(arrivals)
        shape = arrivals.shape
        arrivals = Arrivals(arrivals, jnp.arange(shape[0] if shape else 0, dtype=float))
    check(arrivals.client, jnp.iinfo(jnp.int32).max, "arrivals", lowest=-1)
    if jnp.shape(arrivals.time) != jnp.shape(arrivals.client):
        raise ValueError(
            "arrivals must have times of the shape of clients, "
            f"{jnp.shape(arrivals.client)}, got {jnp.shape(arrivals.time)}"
        )
    return Arrivals(
        jnp.asarray(arrivals.client, jnp.int32), jnp.asarray(arrivals.time, jnp.zeros(()).dtype)
    )
