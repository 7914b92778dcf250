"""The work of one client in a round of federated learning."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jcollab import layout
from jcollab.algorithms.federated.parts import alternate
from jcollab.algorithms.federated.state import (
    FederatedClients,
    Parts,
    RoundSums,
    Server,
    Settings,
    divided,
)
from jcollab.algorithms.local_step import gradient_of, step_of
from jcollab.algorithms.model_state import to_exchange
from jcollab.core import Array, LocalRows, Metrics, PyTree, weighed, widen

UNROLLED_UP_TO = 3  # a short loop of local steps is faster, and not slow to compile, unrolled


def one_client(
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
    """Runs the local steps of one client: returns its terms of the sums, and its new row."""
    x, method = shared.params, settings.method
    y, correction = method.start(x, row.memory, shared.memory, g, mean)
    # the same split as in probe_gradients and loss_at, which see the batches of these steps
    pick_key, loss_key = jax.random.split(key)
    pick = lambda k: batch.pick(own, common, pick_key, k)  # noqa: E731
    parts, model_state, opt_state, slope, metrics, value = _local_run(
        settings, Parts(x, row.personal), y, correction, row, pick, loss_key, step
    )
    y = parts.shared
    # The update is measured from the server's model x, not from where the client starts: a
    # displaced start (FedGA) is part of the update and cancels in the mean over clients. It is
    # computed in float32 or wider, since sums over clients of narrow updates would round.
    update = jax.tree.map(lambda a, b: widen(a) - widen(b), y, x)
    memory = method.finish(row.memory, update, slope)
    moved = weighed(weight, optax.tree.sub(memory, row.memory))
    length = jnp.ones(()) if method.length is None else method.length(_steps_of(row, settings))
    update = jax.tree.map(lambda leaf: leaf / length.astype(leaf.dtype), update)
    if jax.tree.leaves(shared.model_state):
        # after the division: the length of a run scales updates of parameters, not statistics
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
    fresh = row._replace(
        personal=parts.personal, model_state=model_state, opt_state=opt_state, memory=memory
    )
    # A client of weight 0 has dropped out. It is computed all the same, since all clients of a
    # compiled round run one program, and its row is reset.
    kept = jax.tree.map(lambda new, old: jnp.where(weight > 0, new, old), fresh, row)
    return sums, (kept, update if settings.stacks else ())


def _local_run(
    settings: Settings,
    x: Parts,
    y: PyTree,
    correction: PyTree,
    row: FederatedClients,
    pick: Callable[[Array], PyTree],
    key: Array,
    round_: Array,
) -> tuple:
    """Takes the local steps of one client.

    Returns the model, model_state, the state of the optimizer (where it is kept), the mean of the
    gradients of the shared leaves, the means of the metrics over the steps that were taken, and the
    first loss.
    """
    take, optimizer = step_of(settings.objective, settings.optimizer), settings.optimizer
    most = settings.local_steps
    start = Parts(y, x.personal)
    opt_state = row.opt_state if settings.keep_opt_state else optimizer.init(start)

    def step(carry: tuple, k: Array) -> tuple[tuple, Metrics]:
        parts, model_state, opt_state, slope = carry
        own = take(
            parts,
            model_state,
            opt_state,
            pick(k),
            jax.random.fold_in(key, k),
            anchor=x,
            step=round_,
            correction=correction,
        )
        slope, metrics = optax.tree.add(slope, own.grads.shared), own.metrics
        moved = optax.apply_updates(parts, own.updates)
        fresh = (
            alternate(settings.sharing, k, parts, moved),
            own.model_state,
            alternate(settings.sharing, k, opt_state, own.opt_state),
            slope,
        )
        if not isinstance(row.num_steps, tuple):
            # A loop of one length for all clients, so that they can be vectorized: clients with
            # fewer steps compute the later ones and discard them.
            on = k < row.num_steps
            fresh = jax.tree.map(lambda a, b: jnp.where(on, a, b), fresh, carry)
            metrics = jax.tree.map(lambda leaf: jnp.where(on, leaf, 0), metrics)
        return fresh, metrics

    carry = (start, row.model_state, opt_state, optax.tree.zeros_like(y))
    unroll = most if most <= UNROLLED_UP_TO else 1
    (parts, model_state, opt_state, slope), metrics = jax.lax.scan(
        step, carry, jnp.arange(most), unroll=unroll
    )
    steps = _steps_of(row, settings)
    slope = divided(slope, steps)
    value = metrics["loss"][0]
    # metrics of discarded steps are 0: the sum over H divided by the steps taken is their mean
    metrics = divided(jax.tree.map(lambda leaf: widen(leaf.sum(0)), metrics), steps)
    return parts, model_state, opt_state if settings.keep_opt_state else (), slope, metrics, value


def _steps_of(row: FederatedClients, settings: Settings) -> Array:
    steps = row.num_steps
    return jnp.int32(settings.local_steps) if isinstance(steps, tuple) else steps


def probe_gradients(
    settings: Settings,
    x: PyTree,
    batch: LocalRows,
    clients: FederatedClients,
    weights: Array,
    keys: Array,
) -> tuple[PyTree, PyTree]:
    """Computes the clients' gradients at the server's model ``[m, ...]`` and their weighted mean.

    The gradient of a client is the mean over the batches of all its local steps.
    """
    gradient = gradient_of(settings.objective)
    # where every local step uses the same batch, one gradient is the mean of all
    steps = 1 if batch.repeats else settings.local_steps

    def probe(
        x: PyTree, common: PyTree, weight: Array, row: FederatedClients, own: PyTree, key: Array
    ) -> tuple[PyTree, PyTree]:
        pick_key, loss_key = jax.random.split(key)

        def add(total: PyTree, k: Array) -> tuple[PyTree, None]:
            data = batch.pick(own, common, pick_key, k)
            parts, key = Parts(x, row.personal), jax.random.fold_in(loss_key, k)
            grads, _, _ = gradient(parts, row.model_state, data, key)
            return optax.tree.add(total, grads.shared), None

        total, _ = jax.lax.scan(add, optax.tree.zeros_like(x), jnp.arange(steps))
        g = jax.tree.map(lambda leaf: leaf / steps, total)
        return weighed(weight, g), g

    total, g = layout.client_sum(
        probe,
        settings.chunk,
        in_axes=(None, None, 0, 0, 0, 0),
        # a gradient and its sum for each client: the arguments alone are too small an estimate
        bytes_each=2 * sum(leaf.nbytes for leaf in jax.tree.leaves(x)),
        keep=True,
    )(x, batch.common, weights, clients, batch.own, keys)
    return g, divided(total, weights.sum())


def loss_at(
    settings: Settings, batch: LocalRows, clients: FederatedClients, weights: Array, keys: Array
) -> Callable[[PyTree], Array]:
    """Builds the clients' mean loss on the batches of their first steps, as a function of a model.

    It is the ``value_fn`` of the server optimizer: a line search evaluates it on the data that
    the round used. Other optimizers never call it, and it then costs nothing.
    """

    def loss(
        x: PyTree, common: PyTree, weight: Array, row: FederatedClients, own: PyTree, key: Array
    ) -> Array:
        pick_key, loss_key = jax.random.split(key)
        data = batch.pick(own, common, pick_key, jnp.int32(0))
        loss_key = jax.random.fold_in(loss_key, 0)
        parts = Parts(x, row.personal)
        return weighed(weight, settings.objective(parts, row.model_state, data, loss_key)[0])

    each = layout.client_sum(loss, settings.chunk, in_axes=(None, None, 0, 0, 0, 0))

    def mean(x: PyTree) -> Array:
        total = each(x, batch.common, weights, clients, batch.own, keys)
        return divided(total, weights.sum())

    return mean
