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
    """Every client takes a local optimizer step; then the mixer combines what they share.

        x(t+1) = (1 - a) x(t) + mix( a x(t) + u(t) )

    with ``u_i`` the update of the local optimizer, whose state never leaves the client. At a = 1
    models are shared, and the mixer makes the method: ``all_reduce()`` is mini-batch SGD,
    ``gossip(topology)`` D-PSGD, ``relay_sum(tree)`` RelaySGD, ``one_peer_exponential(n)`` or
    ``push_sum(graph)`` SGP. At a = 0 only updates are: with ``relay_sum(tree, fill="zero")`` this
    is RelaySGD/Grad.

    Args:
        loss: ``loss(params, batch, key) -> value`` or ``-> (value, metrics)`` of ONE client; of a
            model with state, ``jc.stateful(loss)``, see :func:`jcollab.core.stateful`.
        optimizer: local optimizer, which gets the extra arguments of
            :mod:`jcollab.local.transforms`.
        mixer: how what is shared is combined.
        mixing_weight: a in [0, 1], the weight with which models are mixed: 1 mixes models, 0
            their updates only. May be traced.
        overlap: mixes the models from before the step, ``x(t+1) = (1 - a) x + mix(a x) + u``, so
            that communication can run beside the computation.
        learners: bool ``[n]``, who takes local steps; the others keep their model but for what
            the mixer does. None for all. Byzantine clients whose messages are made up from those
            of others need not learn.
        honest: bool ``[n]``, whose metrics are averaged; None for the learners.
        model_state: what becomes of the state of models, see
            :data:`jcollab.algorithms.ModelState`: kept by each client, averaged (x and u stand
            for the pair of parameters and state, and for what the step changes in it), or frozen.

    Returns:
        An algorithm with ``init(params, model_state=())``, params and model_state stacked
        ``[n, ...]``, and ``update(state, batch, key)`` with batch leaves ``[n, ...]``. It reports
        ``loss`` and the metrics of the loss as means over honest clients.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if mixing_weight lies outside [0, 1], the argument model_state is none of the
            three, client axes differ between params, model_state, batch and mixer, or a mask does
            not fit.

    Source: Lian et al. 2017, arXiv 1705.09056; Vogels et al. 2021, arXiv 2110.04175.
    """
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, mixer=mixer)
    checks.number("mixing_weight", mixing_weight, at_least=0, at_most=1)

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
        new, mixed = mixer.update(shared, clients.mixer, Round(mix_key, state.step, batch))
        if checks.traced(mixing_weight) or mixing_weight < 1:
            kept = _scale(own, 1 - mixing_weight)
            new = optax.tree.cast_like(optax.tree.add(kept, new), kept)
        if overlap:
            new = optax.apply_updates(new, stepped.value)
        params, model_state = from_exchange(new, stepped.model_state, how)
        clients = Clients(params, model_state, stepped.opt_state, mixed)
        return State(clients, state.shared, state.step + 1), stepped.metrics

    return Algorithm(own_arrays(init), update, names=mixer.names)


def _scale(params: PyTree, factor: Any) -> PyTree:
    if not checks.traced(factor) and factor == 1:
        return params
    return optax.tree.cast_like(optax.tree.scale(factor, params), params)
