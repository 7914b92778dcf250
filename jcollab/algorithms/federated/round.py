"""What happens in one round of federated learning, for the sampled clients alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import layout
from jcollab.aggregators import StatefulRule
from jcollab.algorithms.local_step import gradient_of
from jcollab.core import Array, Channel, Metrics, Objective, PyTree, members
from jcollab.data.sources import Source
from jcollab.local import Drift
from jcollab.mixing.common import widen
from jcollab.mixing.server import combine

UNROLLED_UP_TO = 3  # a short loop of local steps is faster, and not slow to compile, unrolled


class FederatedClients(NamedTuple):
    """What belongs to the clients; every leaf is ``[n, ...]``.

    Attributes:
        weights: p_i, how much each counts.
        num_steps: int32, local steps that each takes; () where all take H.
        model_state: what the loss carries along.
        opt_state: of the local optimisers, where they are kept.
        memory: what the drift keeps of each client.
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
        opt_state: of the server optimiser.
        memory: what the drift keeps of all clients.
        rule: state of the rule.
        total: sum of all clients' weights.
    """

    params: PyTree
    opt_state: PyTree
    memory: PyTree
    rule: PyTree
    total: Array


class Settings(NamedTuple):
    """The arguments of :func:`jcollab.federated`, with defaults filled in."""

    objective: Objective
    optimizer: optax.GradientTransformationExtraArgs
    server_optimizer: optax.GradientTransformation
    local_steps: int
    source: Source
    drift: Drift
    length: Callable[[Array], Array] | None
    rule: StatefulRule
    channel: Channel
    stacks: bool  # whether the server needs all updates at a time, for its rule or channel
    dropout: Any
    honest: Any
    keep_opt_state: bool
    chunk: int | None


class RoundSums(NamedTuple):
    """What is added up over clients, each with its weight.

    Attributes:
        weight: sum of weights.
        update: sum of updates (without a rule), divided by their lengths.
        length: sum of lengths.
        moved: sum of changes of what clients keep.
        metrics: sums of metrics of honest clients.
        honest: sum of weights of honest clients.
        participants: number of clients that were heard.
    """

    weight: Array
    update: PyTree
    length: Array
    moved: PyTree
    metrics: Metrics
    honest: Array
    participants: Array


def one_round(settings: Settings) -> Callable[..., tuple[PyTree, PyTree, Metrics]]:
    """``round(clients, shared, owned, numbers, key, step, n) -> (clients, shared, metrics)``."""
    drift, source = settings.drift, settings.source
    train, gradient = _local_run(settings), gradient_of(settings.objective)
    stacks = settings.stacks

    def probe(x: PyTree, common: PyTree, row: FederatedClients, data: PyTree, key: Array) -> PyTree:
        """The client's gradient at the server's model, over the batches of its local steps."""
        pick_key, loss_key = jax.random.split(key)

        def add(total: PyTree, k: Array) -> tuple[PyTree, None]:
            batch = source.pick(data, common, pick_key, k)
            grads, _, _ = gradient(x, row.model_state, batch, jax.random.fold_in(loss_key, k))
            return jax.tree.map(jnp.add, total, grads), None

        steps = 1 if source.repeats else settings.local_steps
        total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, x), jnp.arange(steps))
        return jax.tree.map(lambda leaf: leaf / steps, total)

    def round_(
        clients: FederatedClients,
        shared: Server,
        owned: tuple[PyTree, PyTree],
        numbers: Array,
        key: Array,
        step: Array,
        n: int,
    ) -> tuple[PyTree, PyTree, Metrics]:
        (rows, common), x = owned, shared.params
        drop_key, local_key, server_key = jax.random.split(key, 3)
        keys = layout.client_keys(local_key, numbers)
        present = jax.vmap(jax.random.uniform)(layout.client_keys(drop_key, numbers))
        weights = jnp.where(present >= settings.dropout, clients.weights, 0)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(x))

        g, mean = None, None
        if drift.probes:

            def probed(x: PyTree, common: PyTree, weight: Array, *own: PyTree) -> tuple:
                g = probe(x, common, *own)
                return jax.tree.map(lambda leaf: weight * leaf, g), g

            total, g = layout.client_sum(
                probed,
                settings.chunk,
                in_axes=(None, None, 0, 0, 0, 0),
                bytes_each=2 * size,
                keep=True,
            )(x, common, weights, clients, rows, keys)
            mean = jax.tree.map(lambda leaf: leaf / _positive(weights.sum()), total)

        honest = jnp.ones(len(numbers))
        if settings.honest is not None:
            honest = jnp.zeros(n).at[members(settings.honest, n, "honest")].set(1)[numbers]

        def one(
            shared: Server,
            common: PyTree,
            mean: PyTree,
            row: FederatedClients,
            data: PyTree,
            g: PyTree,
            key: Array,
            weight: Array,
            honest: Array,
        ) -> tuple[RoundSums, PyTree]:
            x = shared.params
            y, correction = drift.start(x, row.memory, shared.memory, g, mean)
            y, model_state, opt_state, slope, metrics = train(
                x, y, correction, row, common, data, key
            )
            update = jax.tree.map(lambda a, b: widen(a) - widen(b), y, x)
            memory = drift.finish(row.memory, update, slope)
            moved = jax.tree.map(lambda a, b: weight * (a - b), memory, row.memory)
            length = jnp.ones(())
            if settings.length is not None:
                length = settings.length(_steps_of(row, settings))
            update = jax.tree.map(lambda leaf: leaf / length.astype(leaf.dtype), update)
            sums = RoundSums(
                weight,
                ()
                if stacks
                else jax.tree.map(lambda leaf: weight.astype(leaf.dtype) * leaf, update),
                weight * length,
                moved,
                jax.tree.map(lambda leaf: weight * honest * leaf, metrics),
                weight * honest,
                (weight > 0).astype(jnp.float32),
            )
            fresh = row._replace(model_state=model_state, opt_state=opt_state, memory=memory)
            kept = jax.tree.map(lambda new, old: jnp.where(weight > 0, new, old), fresh, row)
            return sums, (kept, update if stacks else ())

        sums, (clients, updates) = layout.client_sum(
            one,
            settings.chunk,
            in_axes=(None, None, None, 0, 0, 0, 0, 0, 0),
            bytes_each=4 * size,
            keep=True,
        )(shared, common, mean, clients, rows, g, keys, weights, honest)

        rule_state = shared.rule
        if stacks:

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
                key=server_key,
                step=step,
                senders=numbers,
            )
            clients = clients._replace(channel=channel_state)
        else:
            update = jax.tree.map(lambda leaf: leaf / _positive(sums.weight), sums.update)
        if settings.length is not None:
            mean_length = sums.length / _positive(sums.weight)
            update = jax.tree.map(lambda leaf: mean_length.astype(leaf.dtype) * leaf, update)
        moved = jax.tree.map(lambda leaf: leaf / shared.total, sums.moved)
        update, memory = drift.serve(update, shared.memory, moved)
        grads = jax.tree.map(lambda u, p: -u.astype(p.dtype), update, x)
        steps, opt_state = settings.server_optimizer.update(grads, shared.opt_state, x)
        fresh = Server(optax.apply_updates(x, steps), opt_state, memory, rule_state, shared.total)
        # without anybody heard, nothing happens at the server either
        fresh = jax.tree.map(lambda a, b: jnp.where(sums.weight > 0, a, b), fresh, shared)
        metrics = jax.tree.map(lambda leaf: leaf / sums.honest, sums.metrics)
        return clients, fresh, metrics | {"participants": sums.participants}

    return round_


def _local_run(settings: Settings) -> Callable[..., tuple]:
    """``train(x, y, correction, row, common, data, key)``: the local steps of ONE client.

    Returns the model, model_state, the state of the optimiser (where it is kept), the mean of the
    local gradients, and the means of the metrics over the steps that were taken.
    """
    gradient, optimizer, source = (
        gradient_of(settings.objective),
        settings.optimizer,
        settings.source,
    )
    most = settings.local_steps

    def train(
        x: PyTree,
        y: PyTree,
        correction: PyTree,
        row: FederatedClients,
        common: PyTree,
        data: PyTree,
        key: Array,
    ) -> tuple:
        pick_key, loss_key = jax.random.split(key)
        opt_state = row.opt_state if settings.keep_opt_state else optimizer.init(y)

        def step(carry: tuple, k: Array) -> tuple[tuple, Metrics]:
            y, model_state, opt_state, slope = carry
            batch = source.pick(data, common, pick_key, k)
            loss_key_k = jax.random.fold_in(loss_key, k)
            grads, model_state, metrics = gradient(y, model_state, batch, loss_key_k)
            updates, opt_state = optimizer.update(
                grads, opt_state, y, anchor=x, correction=correction
            )
            slope = jax.tree.map(jnp.add, slope, grads)
            fresh = (optax.apply_updates(y, updates), model_state, opt_state, slope)
            if not isinstance(row.num_steps, tuple):  # clients with fewer steps wait
                on = k < row.num_steps
                fresh = jax.tree.map(lambda a, b: jnp.where(on, a, b), fresh, carry)
                metrics = jax.tree.map(lambda leaf: jnp.where(on, leaf, 0), metrics)
            return fresh, metrics

        start = (y, row.model_state, opt_state, jax.tree.map(jnp.zeros_like, y))
        unroll = most if most <= UNROLLED_UP_TO else 1
        (y, model_state, opt_state, slope), metrics = jax.lax.scan(
            step, start, jnp.arange(most), unroll=unroll
        )
        steps = _steps_of(row, settings)
        slope = jax.tree.map(lambda leaf: leaf / steps.astype(leaf.dtype), slope)
        metrics = jax.tree.map(lambda leaf: leaf.sum(0) / steps, metrics)
        return y, model_state, opt_state if settings.keep_opt_state else (), slope, metrics

    return train


def _steps_of(row: FederatedClients, settings: Settings) -> Array:
    if isinstance(row.num_steps, tuple):
        return jnp.int32(settings.local_steps)
    return row.num_steps


def _positive(value: Array) -> Array:
    return jnp.where(value > 0, value, 1)
