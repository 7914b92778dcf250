"""One round of federated learning, computed for the sampled clients only."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.federated.client import loss_at, one_client, probe_gradients
from jcollab.algorithms.federated.state import (
    FederatedClients,
    RoundSums,
    Server,
    Settings,
    divided,
)
from jcollab.algorithms.local_step import optimizer_update
from jcollab.algorithms.model_state import from_exchange
from jcollab.core import Array, CohortRound, LocalRows, Metrics, PyTree, Round, replicate
from jcollab.mixing.server import combine


def one_round(settings: Settings) -> CohortRound:
    """Builds the round of a cohort.

    Returns:
        ``round(clients, shared, batch, numbers, key, step, n) -> (clients, shared, metrics)``,
        where ``clients`` and ``batch`` contain only the rows of the m sampled clients, and
        ``numbers`` are their indices among all n.
    """

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
        # Keys are folded with the client's index, not with its place in the sample: a client draws
        # the same numbers for every set of sampled clients and every number of devices.
        keys = layout.client_keys(drop_key, numbers)
        present = jax.vmap(lambda key: jax.random.uniform(key, dtype=jnp.float32))(keys)
        keys = layout.client_keys(local_key, numbers)
        # Shapes are static, so a client that drops out remains in the program, with weight 0.
        weights = jnp.where(present >= settings.dropout, clients.weights, 0)
        honest = jnp.ones(len(numbers))
        if settings.honest is not None:
            honest = jnp.zeros(n).at[checks.members(settings.honest, n, "honest")].set(1)[numbers]
        given, carried, g, mean = clients, clients.model_state, None, None
        # An averaged state is stored at the server. Each client starts from a copy and sends the
        # change with its update; its own row has no model state.
        if averaged := bool(jax.tree.leaves(shared.model_state)):
            given = given._replace(model_state=replicate(shared.model_state, len(numbers)))
        # SCAFFOLD and FedGA with fresh gradients: one more communication before the local steps
        if settings.method.probes:
            g, mean = probe_gradients(settings, shared.params, batch, given, weights, keys)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(shared.params))
        sums, (clients, updates) = layout.client_sum(
            functools.partial(one_client, settings, batch),
            settings.chunk,
            in_axes=(None,) * 4 + (0,) * 6,
            # The arguments that lead with the client axis may be tiny (indices of examples), while
            # each client works on its own model, gradient, optimizer state and update.
            bytes_each=4 * size,
            keep=True,
        )(shared, batch.common, mean, step, given, batch.own, g, keys, weights, honest)
        clients = clients._replace(model_state=carried) if averaged else clients
        value_fn = loss_at(settings, batch, given, weights, keys)
        rule_state = shared.rule
        if settings.stacks:
            context = Round(server_key, step)
            update, rule_state, clients = _through_rule(
                settings, shared, clients, updates, weights, numbers, context, n
            )
        else:
            update = divided(sums.update, sums.weight)
        fresh = _server_step(settings, shared, update, sums, value_fn, step)
        fresh = fresh._replace(rule=rule_state)
        # Where all clients drop out, nothing changes at the server either: an update of 0 would
        # still move a server optimizer that has momentum or weight decay.
        fresh = jax.tree.map(lambda a, b: jnp.where(sums.weight > 0, a, b), fresh, shared)
        metrics = divided(sums.metrics, sums.honest)
        return clients, fresh, metrics | {"participants": sums.participants}

    return round_


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
    """Sends the updates through the channel and combines them by the rule.

    Returns the combined update, the new state of the rule, and the clients with the new state of
    the channel.
    """

    # Attacks and channels index sent values by client, so there is a row for each of the n clients;
    # the rows of clients that are not sampled are 0.
    def among_all(leaf: Array) -> Array:
        return jnp.zeros((n, *leaf.shape[1:]), leaf.dtype).at[numbers].set(leaf)

    update, rule_state, channel_state = combine(
        settings.rule,
        settings.channel,
        # the server's own value: clients send changes of its model, of which its own is 0
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
    """Takes one step of the server optimizer with the negative mean update as its gradient."""
    x, method = shared.params, settings.method
    update, moved_state = from_exchange(update, shared.model_state)
    # the state is averaged, not optimized: its mean change is added as it is
    model_state = optax.apply_updates(shared.model_state, moved_state)
    # FedNova: clients sent updates per unit of length, and the mean length restores the scale, so
    # that a client with more local steps has no more influence on the direction
    if method.length is not None:
        mean_length = divided(sums.length, sums.weight)
        update = jax.tree.map(lambda leaf: mean_length.astype(leaf.dtype) * leaf, update)
    # Divided by the weight of all n clients, not of the sampled ones: the memories of the others
    # did not change, and this is the change of the mean over everyone (SCAFFOLD, FedDyn).
    moved = divided(sums.moved, shared.total)
    update, memory = method.serve(update, shared.memory, moved)
    grads = jax.tree.map(lambda u, p: -u.astype(p.dtype), update, x)
    steps, opt_state = optimizer_update(
        settings.server_optimizer,
        grads,
        shared.opt_state,
        x,
        value=divided(sums.value, sums.weight),
        value_fn=value_fn,
        anchor=x,
        step=step,
    )
    params = optax.apply_updates(x, steps)
    return Server(params, model_state, opt_state, memory, shared.rule, shared.total)
