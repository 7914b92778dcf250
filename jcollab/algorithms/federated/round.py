"""What happens in one round of federated learning, for the sampled clients alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, optimizer_update, step_of
from jcollab.algorithms.model_state import ModelState, from_exchange, to_exchange
from jcollab.core import (
    Array,
    Channel,
    CohortRound,
    LocalRows,
    Metrics,
    Objective,
    PyTree,
    Round,
    Rule,
    replicate,
    weighed,
    widen,
)
from jcollab.local import ClientMethod
from jcollab.mixing.server import combine

UNROLLED_UP_TO = 3  # a short loop of local steps is faster, and not slow to compile, unrolled


class FederatedClients(NamedTuple):
    """What belongs to the clients; every leaf is ``[n, ...]``.

    Attributes:
        weights: p_i, how much each counts.
        num_steps: int32, local steps that each takes; () where all take H.
        model_state: what the loss carries along, where it is not averaged.
        opt_state: of the local optimizers, where they are kept.
        memory: what the method keeps of each client.
        channel: messages that are under way.
    """

    weights: Array
    num_steps: Array | tuple[()]
    model_state: PyTree
    opt_state: PyTree
    memory: PyTree
    channel: PyTree


class Server(NamedTuple):
    """What the server keeps.

    Attributes:
        params: its model x.
        model_state: its state s, where it is averaged.
        opt_state: of the server optimizer.
        memory: what the method keeps of all clients.
        rule: state of the rule.
        total: sum of all clients' weights.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    memory: PyTree
    rule: PyTree
    total: Array


class Settings(NamedTuple):
    """The arguments of :func:`jcollab.federated`, with defaults filled in."""

    objective: Objective
    optimizer: optax.GradientTransformationExtraArgs
    server_optimizer: optax.GradientTransformation
    num_sampled: int | None
    local_steps: int
    method: ClientMethod
    rule: Rule
    channel: Channel
    stacks: bool  # whether the server needs all updates at a time, for its rule or channel
    weights: Any
    num_steps: Any
    dropout: Any
    honest: Any
    keep_opt_state: bool
    model_state: ModelState
    num_clients: int | None
    chunk: int | None


class RoundSums(NamedTuple):
    """What is added up over clients, each with its weight.

    Attributes:
        weight: sum of weights.
        update: sum of updates (without a rule), divided by their lengths; of an averaged state,
            sum of changes.
        length: sum of lengths.
        moved: sum of changes of what clients keep.
        metrics: sums of metrics of honest clients.
        honest: sum of weights of honest clients.
        value: sum of the losses where clients start.
        participants: number of clients that finish the round.
    """

    weight: Array
    update: PyTree
    length: Array
    moved: PyTree
    metrics: Metrics
    honest: Array
    value: Array
    participants: Array


def one_round(settings: Settings) -> CohortRound:
    """``round(clients, shared, batch, numbers, key, step, n) -> (clients, shared, metrics)``."""

    def round_(
        clients: FederatedClients,
        shared: Server,
        batch: LocalRows,
        numbers: Array,
        key: Array,
        step: Array,
        n: int,
    ) -> tuple[PyTree, PyTree, Metrics]:
        checks.kind(FederatedClients, **{"state.clients": clients})
        drop_key, local_key, server_key = jax.random.split(key, 3)
        keys = layout.client_keys(drop_key, numbers)
        present = jax.vmap(lambda key: jax.random.uniform(key, dtype=jnp.float32))(keys)
        keys = layout.client_keys(local_key, numbers)
        weights = jnp.where(present >= settings.dropout, clients.weights, 0)
        honest = jnp.ones(len(numbers))
        if settings.honest is not None:
            honest = jnp.zeros(n).at[checks.members(settings.honest, n, "honest")].set(1)[numbers]
        given, carried, g, mean = clients, clients.model_state, None, None
        if averaged := bool(jax.tree.leaves(shared.model_state)):
            given = given._replace(model_state=replicate(shared.model_state, len(numbers)))
        if settings.method.probes:
            g, mean = _gradients(settings, shared.params, batch, given, weights, keys)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(shared.params))
        sums, (clients, updates) = layout.client_sum(
            functools.partial(_one_client, settings, batch),
            settings.chunk,
            in_axes=(None,) * 4 + (0,) * 6,
            bytes_each=4 * size,
            keep=True,
        )(shared, batch.common, mean, step, given, batch.own, g, keys, weights, honest)
        clients = clients._replace(model_state=carried) if averaged else clients
        value_fn = _loss_at(settings, batch, given, weights, keys)
        rule_state = shared.rule
        if settings.stacks:
            context = Round(server_key, step)
            update, rule_state, clients = _through_rule(
                settings, shared, clients, updates, weights, numbers, context, n
            )
        else:
            update = _share(sums.update, sums.weight)
        fresh = _server_step(settings, shared, update, sums, value_fn, step)
        fresh = fresh._replace(rule=rule_state)
        # where no client takes part, nothing changes at the server either
        fresh = jax.tree.map(lambda a, b: jnp.where(sums.weight > 0, a, b), fresh, shared)
        metrics = _share(sums.metrics, sums.honest)
        return clients, fresh, metrics | {"participants": sums.participants}

    return round_


def _gradients(
    settings: Settings,
    x: PyTree,
    batch: LocalRows,
    clients: FederatedClients,
    weights: Array,
    keys: Array,
) -> tuple[PyTree, PyTree]:
    """Gradients of the clients at the server's model ``[m, ...]``, and their weighted mean."""
    gradient = gradient_of(settings.objective)
    steps = 1 if batch.repeats else settings.local_steps

    def probe(
        x: PyTree, common: PyTree, weight: Array, row: FederatedClients, own: PyTree, key: Array
    ) -> tuple[PyTree, PyTree]:
        pick_key, loss_key = jax.random.split(key)

        def add(total: PyTree, k: Array) -> tuple[PyTree, None]:
            data = batch.pick(own, common, pick_key, k)
            grads, _, _ = gradient(x, row.model_state, data, jax.random.fold_in(loss_key, k))
            return optax.tree.add(total, grads), None

        total, _ = jax.lax.scan(add, optax.tree.zeros_like(x), jnp.arange(steps))
        g = jax.tree.map(lambda leaf: leaf / steps, total)
        return weighed(weight, g), g

    total, g = layout.client_sum(
        probe,
        settings.chunk,
        in_axes=(None, None, 0, 0, 0, 0),
        bytes_each=2 * sum(leaf.nbytes for leaf in jax.tree.leaves(x)),
        keep=True,
    )(x, batch.common, weights, clients, batch.own, keys)
    return g, _share(total, weights.sum())


def _loss_at(
    settings: Settings, batch: LocalRows, clients: FederatedClients, weights: Array, keys: Array
) -> Callable[[PyTree], Array]:
    """The clients' mean loss on the batches of their first steps, as a function of one model."""

    def loss(
        x: PyTree, common: PyTree, weight: Array, row: FederatedClients, own: PyTree, key: Array
    ) -> Array:
        pick_key, loss_key = jax.random.split(key)
        data = batch.pick(own, common, pick_key, jnp.int32(0))
        loss_key = jax.random.fold_in(loss_key, 0)
        return weighed(weight, settings.objective(x, row.model_state, data, loss_key)[0])

    each = layout.client_sum(loss, settings.chunk, in_axes=(None, None, 0, 0, 0, 0))

    def mean(x: PyTree) -> Array:
        total = each(x, batch.common, weights, clients, batch.own, keys)
        return _share(total, weights.sum())

    return mean


def _one_client(
    settings: Settings,
    batch: LocalRows,
    shared: Server,
    common: PyTree,
    mean: PyTree,
    step: Array,
    row: FederatedClients,
    own: PyTree,
    g: PyTree,
    key: Array,
    weight: Array,
    honest: Array,
) -> tuple[RoundSums, PyTree]:
    """The local run of one client: its share of the sums, and what it keeps."""
    x, method = shared.params, settings.method
    y, correction = method.start(x, row.memory, shared.memory, g, mean)
    pick_key, loss_key = jax.random.split(key)
    pick = lambda k: batch.pick(own, common, pick_key, k)  # noqa: E731
    y, model_state, opt_state, slope, metrics, value = _local_run(
        settings, x, y, correction, row, pick, loss_key, step
    )
    update = jax.tree.map(lambda a, b: widen(a) - widen(b), y, x)
    memory = method.finish(row.memory, update, slope)
    moved = weighed(weight, optax.tree.sub(memory, row.memory))
    length = jnp.ones(()) if method.length is None else method.length(_steps_of(row, settings))
    update = jax.tree.map(lambda leaf: leaf / length.astype(leaf.dtype), update)
    if jax.tree.leaves(shared.model_state):
        moved_state = jax.tree.map(lambda a, b: widen(a) - widen(b), model_state, row.model_state)
        update = to_exchange(update, moved_state)
    sums = RoundSums(
        weight,
        () if settings.stacks else weighed(weight, update),
        weighed(weight, length),
        moved,
        weighed(weight * honest, metrics),
        weight * honest,
        weighed(weight, value),
        (weight > 0).astype(jnp.float32),
    )
    fresh = row._replace(model_state=model_state, opt_state=opt_state, memory=memory)
    kept = jax.tree.map(lambda new, old: jnp.where(weight > 0, new, old), fresh, row)
    return sums, (kept, update if settings.stacks else ())


def _through_rule(
    settings: Settings,
    shared: Server,
    clients: FederatedClients,
    updates: PyTree,
    weights: Array,
    numbers: Array,
    context: Round,
    n: int,
) -> tuple[PyTree, PyTree, FederatedClients]:
    """The update that the rule makes of those that the channel delivers, and new states."""

    def among_all(leaf: Array) -> Array:
        return jnp.zeros((n, *leaf.shape[1:]), leaf.dtype).at[numbers].set(leaf)

    update, rule_state, channel_state = combine(
        settings.rule,
        settings.channel,
        jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), updates),
        updates,
        weights,
        (shared.rule, clients.channel),
        sent=jax.tree.map(among_all, updates),
        context=context,
        senders=numbers,
    )
    return update, rule_state, clients._replace(channel=channel_state)


def _server_step(
    settings: Settings,
    shared: Server,
    update: PyTree,
    sums: RoundSums,
    value_fn: Callable[[PyTree], Array],
    step: Array,
) -> Server:
    """One step of the server optimizer with the mean update as its gradient."""
    x, method = shared.params, settings.method
    update, moved_state = from_exchange(update, shared.model_state)
    model_state = optax.apply_updates(shared.model_state, moved_state)
    if method.length is not None:
        mean_length = _share(sums.length, sums.weight)
        update = jax.tree.map(lambda leaf: mean_length.astype(leaf.dtype) * leaf, update)
    moved = _share(sums.moved, shared.total)
    update, memory = method.serve(update, shared.memory, moved)
    grads = jax.tree.map(lambda u, p: -u.astype(p.dtype), update, x)
    steps, opt_state = optimizer_update(
        settings.server_optimizer,
        grads,
        shared.opt_state,
        x,
        value=_share(sums.value, sums.weight),
        value_fn=value_fn,
        anchor=x,
        step=step,
    )
    params = optax.apply_updates(x, steps)
    return Server(params, model_state, opt_state, memory, shared.rule, shared.total)


def _local_run(
    settings: Settings,
    x: PyTree,
    y: PyTree,
    correction: PyTree,
    row: FederatedClients,
    pick: Callable[[Array], PyTree],
    key: Array,
    round_: Array,
) -> tuple:
    """The local steps of one client.

    Returns the model, model_state, the state of the optimizer (where it is kept), the mean of the
    local gradients, the means of the metrics over the steps that were taken, and the first loss.
    """
    take, optimizer = step_of(settings.objective, settings.optimizer), settings.optimizer
    most = settings.local_steps
    opt_state = row.opt_state if settings.keep_opt_state else optimizer.init(y)

    def step(carry: tuple, k: Array) -> tuple[tuple, Metrics]:
        y, model_state, opt_state, slope = carry
        own = take(
            y,
            model_state,
            opt_state,
            pick(k),
            jax.random.fold_in(key, k),
            anchor=x,
            step=round_,
            correction=correction,
        )
        slope, metrics = optax.tree.add(slope, own.grads), own.metrics
        fresh = (optax.apply_updates(y, own.updates), own.model_state, own.opt_state, slope)
        if not isinstance(row.num_steps, tuple):  # clients with fewer steps wait
            on = k < row.num_steps
            fresh = jax.tree.map(lambda a, b: jnp.where(on, a, b), fresh, carry)
            metrics = jax.tree.map(lambda leaf: jnp.where(on, leaf, 0), metrics)
        return fresh, metrics

    start = (y, row.model_state, opt_state, optax.tree.zeros_like(y))
    unroll = most if most <= UNROLLED_UP_TO else 1
    (y, model_state, opt_state, slope), metrics = jax.lax.scan(
        step, start, jnp.arange(most), unroll=unroll
    )
    steps = _steps_of(row, settings)
    slope = _share(slope, steps)
    value = metrics["loss"][0]
    metrics = _share(jax.tree.map(lambda leaf: widen(leaf.sum(0)), metrics), steps)
    return y, model_state, opt_state if settings.keep_opt_state else (), slope, metrics, value


def _steps_of(row: FederatedClients, settings: Settings) -> Array:
    steps = row.num_steps
    return jnp.int32(settings.local_steps) if isinstance(steps, tuple) else steps


def _share(sums: PyTree, weight: Array) -> PyTree:
    """Sums over their weight; where that is 0, so are they."""
    weight = jnp.where(weight > 0, weight, 1)
    return jax.tree.map(lambda leaf: leaf / weight.astype(leaf.dtype), sums)
