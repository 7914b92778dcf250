"""Decentralized learning: a local step, then an exchange of models or updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import local_step
from jcollab.algorithms.model_state import ModelState, from_exchange, to_exchange
from jcollab.core import (
    Algorithm,
    Array,
    Clients,
    Loss,
    Metrics,
    Mixer,
    PyTree,
    Round,
    State,
    clients_of,
    own_arrays,
)


def decentralized(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mixer: Mixer,
    *,
    mixing_weight: Any = 1.0,
    overlap: bool = False,
    learners: Any = None,
    honest: Any = None,
    model_state: ModelState = "keep",
) -> Algorithm:
    """Builds decentralized learning, with a local step of every client and mixing in each round.

        x(t+1) = (1 - a) x(t) + mix( a x(t) + u(t) )

    where ``u_i`` is the update of the local optimizer, whose state is never sent. At a = 1 clients
    exchange models, and the mixer determines the method: ``all_reduce()`` gives mini-batch SGD,
    ``gossip(topology)`` D-PSGD, ``relay_sum(tree)`` RelaySGD, ``one_peer_exponential(n)`` or
    ``push_sum(graph)`` SGP. At a = 0 clients exchange only updates: ``relay_sum(tree,
    fill="zero")`` then gives RelaySGD/Grad.

    Args:
        loss: ``loss(params, batch, key) -> value`` or ``-> (value, metrics)`` of ONE client; for a
            model with state, ``jc.stateful(loss)``, see :func:`jcollab.core.stateful`.
        optimizer: local optimizer, which receives the extra arguments of
            :mod:`jcollab.local.transforms`.
        mixer: how clients combine what they exchange.
        mixing_weight: a in [0, 1], a number (possibly traced): 1 mixes models, 0 mixes only their
            updates.
        overlap: mixes the models from before the step, ``x(t+1) = (1 - a) x + mix(a x) + u``, so
            that communication and computation can overlap.
        learners: bool ``[n]``, the clients that take local steps; only the mixer changes the
            models of the others. None for all. Byzantine clients whose attack is computed from
            the messages of others need not learn.
        honest: bool ``[n]``, the clients over which metrics are averaged; None for the learners.
        model_state: how the state of models is treated, see
            :data:`jcollab.algorithms.ModelState`: kept by each client; averaged (in the equation,
            x is the pair of parameters and state, and u the change of both); or frozen.

    Returns:
        An algorithm with ``init(params, model_state=())``, params and model_state stacked
        ``[n, ...]``, and ``update(state, batch, key)`` with batch leaves ``[n, ...]``. It reports
        ``loss`` and the metrics of the loss as means over honest clients.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if mixing_weight lies outside [0, 1], the argument model_state is not one of
            the three values, client axes differ between params, model_state, batch and mixer, or a
            mask has a wrong length.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> mixer = jc.gossip(jc.topology.ring(3))  # three clients: the average of all
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.5), mixer)
        >>> state = algorithm.init(jnp.zeros((3, 1)))
        >>> targets = jc.data.full_batch(jnp.array([[0.0], [2.0], [4.0]]))  # steps to 0, 1, 2
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=1)
        >>> state.clients.params.round(3).tolist()
        [[1.0], [1.0], [1.0]]

    Source: Lian et al. 2017, arXiv 1705.09056; Vogels et al. 2021, arXiv 2110.04175.
    """
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, mixer=mixer)
    checks.number("mixing_weight", mixing_weight, at_least=0, at_most=1)

    # What a client hands to the mixer: a x + u. With ``overlap`` the mixer gets a x instead, which
    # does not depend on the step, and the update is added afterwards.
    def share(params: PyTree, updates: PyTree) -> PyTree:
        return updates if overlap else optax.apply_updates(_scale(params, mixing_weight), updates)

    how = model_state
    take = local_step(
        loss, optimizer, share, learners=learners, honest=honest, model_state=model_state
    )

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        opt_state = jax.vmap(optimizer.init)(params)
        mixed = mixer.init(_scale(to_exchange(params, model_state, how), mixing_weight))
        return State(Clients(params, model_state, opt_state, mixed), (), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Clients)
        local_key, mix_key = jax.random.split(key)
        stepped = take(clients, batch, local_key, state.step)
        own = to_exchange(clients.params, clients.model_state, how)
        shared = _scale(own, mixing_weight) if overlap else stepped.value
        # Only the mixer lets clients interact. Everything before and after it is per client, so a
        # program on several devices communicates in this line alone (and for metrics).
        new, mixed = mixer.update(shared, clients.mixer, Round(mix_key, state.step, batch))
        # (1 - a) x is skipped at a = 1, the usual case, where it would read all models for nothing
        if checks.traced(mixing_weight) or mixing_weight < 1:
            kept = _scale(own, 1 - mixing_weight)
            new = optax.tree.cast_like(optax.tree.add(kept, new), kept)
        if overlap:
            new = optax.apply_updates(new, stepped.value)
        # a model state that is not averaged comes from the local step, past the mixer
        params, model_state = from_exchange(new, stepped.model_state, how)
        clients = Clients(params, model_state, stepped.opt_state, mixed)
        return State(clients, state.shared, state.step + 1), stepped.metrics

    return Algorithm(own_arrays(init), update, names=mixer.names)


def _scale(params: PyTree, factor: Any) -> PyTree:
    # a traced factor (swept, or differentiated) is never compared with 1: it has no value yet
    if not checks.traced(factor) and factor == 1:
        return params
    return optax.tree.cast_like(optax.tree.scale(factor, params), params)
