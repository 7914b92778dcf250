"""Asynchronous learning: clients of different speed, a server that waits for none of them."""

from __future__ import annotations

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
        model: the model that each client has fetched and computes on.
        model_state: what the loss carries along; fetched with the model where it is averaged.
        since: int32 ``[n]``, server steps at the time of fetching.
    """

    model: PyTree
    model_state: PyTree
    since: Array


class Server(NamedTuple):
    """Shared part of the state.

    Attributes:
        params: the newest model.
        model_state: its state, where it is averaged.
        opt_state: of the server's optimizer.
        buffer: sum of the updates that wait for a server step; ``()`` where each makes its own.
        waiting: int32 ``[]``, how many they are.
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
        """T, the number of arrivals, and of rounds."""
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
    """A server takes a step with what the arriving client computed on the model it had fetched.

        x(t+1) = x(t) + u(t),    u(t) from  w(tau) grad f_i( x(t - tau) )

    One round is one arrival: client i of the schedule hands in its gradient and fetches the newest
    model. The delay tau, the server's steps in between, comes about and is reported. With
    ``buffer_size`` K, the server takes a step at every K-th arrival, with the mean of what came
    (FedBuff).

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: the server's. Beside the extra arguments of :func:`jcollab.decentralized`, whose
            ``value`` is the loss that is reported, it gets ``delay``, the mean over the updates of
            a step, for :func:`jcollab.local.scale_by_delay`.
        arrivals: the schedule, from :mod:`jcollab.theory.arrivals`, or client numbers, int
            ``[T]``. It becomes part of the state; a run has at most T rounds. May be traced.
        buffer_size: K >= 1; may be traced.
        weigh: ``weigh(delay) -> w``, the weight of each update; None for 1. FedBuff's is
            ``polynomial_staleness(0.5)``.
        local_optimizer: if given, a client takes H steps with it, started afresh, on batch leaves
            ``[n, H, ...]``, and hands in ``x_start - x_H``, how far it came, in place of a
            gradient. Its ``anchor`` is the model that was fetched.
        model_state: what becomes of the state s of the model, see
            :data:`jcollab.algorithms.ModelState`: averaged (a client fetches s with the model and
            hands in ``w (s_i - s)`` with s_i what the loss made of it; the server adds the mean
            of what came), kept by each client, or frozen.

    Returns:
        An algorithm with ``init(params, model_state=())``, stacked ``[n, ...]``, whose mean is the
        start, and ``update(state, batch, key)``. Batch leaves are ``[n, ...]``, of which only the
        arriving client's is used, or ``[1, ...]``, the arriving client's. It reports ``loss`` and
        metrics of the loss at the model that the client had (of its last local step), ``client``,
        ``delay`` and ``time``. Where the schedule has -1, no client arrives and nothing changes.

    Raises:
        TypeError: if ``loss`` or ``weigh`` is not callable, or the schedule has no integers.
        ValueError: if buffer_size < 1 or the schedule is empty; in ``init``, if it names clients
            that are missing; or client axes differ.

    Source: Stich, Mohtashami and Jaggi 2021, arXiv 2103.02351; Nguyen et al. 2022,
    arXiv 2106.06639 (FedBuff).
    """
    checks.optimizers(optimizer=optimizer, local_optimizer=local_optimizer or optimizer)
    checks.count("buffer_size", buffer_size)
    if weigh is not None:
        checks.scalar_function("weigh", weigh, jnp.int32(0))
    schedule = _schedule(arrivals)
    objective, how = lift(with_model_state(loss, model_state)), model_state
    work = _work(objective, local_optimizer)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        n = layout.num_clients((params, model_state), ("params", "model_state"))
        check(schedule.client, n, "arrivals", lowest=-1)
        start = to_exchange(params, model_state, how)
        start = mean_over_clients(start)
        model, common = from_exchange(start, model_state, how)
        common, _ = place(common, model_state, how)
        models, fetched = from_exchange(replicate(start, n), model_state, how)
        single = not checks.traced(buffer_size) and buffer_size == 1
        buffer = () if single else optax.tree.zeros_like(jax.tree.map(widen, start))
        none, opt_state = jnp.int32(0), optimizer.init(model)
        shared = Server(model, common, opt_state, buffer, none, jnp.zeros(()), none, schedule)
        return State(FetchedModels(models, fetched, jnp.zeros(n, jnp.int32)), shared, none)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        fetched, shared = clients_of(state, FetchedModels), state.shared
        n = layout.num_clients((fetched.model, fetched.model_state), ("params", "model_state"))
        if (given := layout.num_clients(batch, "batch")) not in (1, n):
            raise ValueError(
                f"batch must lead with n={n}, or 1 for the arriving client, got {given}"
            )
        turn = state.step % shared.arrivals.client.shape[0]
        client, time = shared.arrivals.client[turn], shared.arrivals.time[turn]
        i, came = jnp.maximum(client, 0), client >= 0
        model, model_state = jax.tree.map(
            lambda leaf: leaf[i], (fetched.model, fetched.model_state)
        )
        own = jax.tree.map(lambda leaf: leaf[i if given == n else 0], batch)

        own_key = jax.random.fold_in(key, i)
        handed, new_model_state, metrics = work(model, model_state, own, own_key, state.step)
        averaged = bool(jax.tree.leaves(shared.model_state))
        if averaged:
            handed = to_exchange(handed, change(model_state, new_model_state))
        delay = shared.version - fetched.since[i]
        if weigh is not None:
            factor = jnp.asarray(weigh(delay))
            handed = optax.tree.cast_like(weighed(factor, handed), handed)

        def loss_at(params: PyTree) -> Array:
            batch, key = own, own_key
            if local_optimizer is not None:  # of the last local step
                keys = _step_keys(own_key, own)
                batch, key = jax.tree.map(lambda leaf: leaf[-1], (own, keys))
            return objective(params, model_state, batch, key)[0]

        extra = {"value": metrics["loss"], "value_fn": loss_at, "step": state.step}
        received = _receive(optimizer, buffer_size, shared, handed, delay, extra)
        shared = optax.tree.where(came, received, shared)
        if averaged:
            new_model_state = shared.model_state

        fresh = FetchedModels(shared.params, new_model_state, shared.version)
        clients = jax.tree.map(
            lambda rows, new: rows.at[i].set(jnp.where(came, new, rows[i])), fetched, fresh
        )
        log: Metrics = {**metrics, "client": client, "delay": delay, "time": time}
        return State(clients, shared, state.step + 1), log

    return Algorithm(own_arrays(init), update)


def _work(
    objective: Objective, local_optimizer: optax.GradientTransformation | None
) -> Callable[..., tuple[PyTree, PyTree, Metrics]]:
    """``work(model, model_state, batch, key, step)``: what is handed in, model_state, metrics."""
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
    """The server after an update arrives, with a step where the buffer is full."""
    waiting, delays = shared.waiting + 1, shared.delays + delay.astype(shared.delays.dtype)
    mean, buffer = handed, shared.buffer
    single = not jax.tree.leaves(buffer)
    if not single:
        buffer = optax.tree.add(buffer, jax.tree.map(widen, handed))
        mean = jax.tree.map(lambda b, h: (b / buffer_size).astype(h.dtype), buffer, handed)
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
            f"arrivals must have a time for each client, got {jnp.shape(arrivals.time)} times for "
            f"{jnp.shape(arrivals.client)}"
        )
    return Arrivals(
        jnp.asarray(arrivals.client, jnp.int32), jnp.asarray(arrivals.time, jnp.zeros(()).dtype)
    )
