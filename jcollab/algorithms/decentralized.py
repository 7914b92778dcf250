"""Decentralised learning: a local step, then an exchange of models."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jcollab import layout
from jcollab.algorithms.local_step import gradient_of, mean_metrics
from jcollab.core import Algorithm, Array, Clients, Metrics, Mixer, PyTree, State, lift


def decentralized(
    loss: Callable, optimizer: optax.GradientTransformation, mixer: Mixer
) -> Algorithm:
    """Every client takes a local optimiser step; then the mixer combines the models.

        x_i(t+1/2) = x_i(t) + u_i(t),    x(t+1) = mix( x(t+1/2) )

    with ``u_i`` the update of the local optimiser, whose state never leaves the client. The mixer
    makes the method: ``all_reduce()`` is mini-batch SGD, ``gossip(topology)`` D-PSGD,
    ``relay_sum(tree)`` RelaySGD.

    Args:
        loss: ``loss(params, batch, key)`` or ``loss(params, extra, batch, key)`` of ONE client,
            see :func:`jcollab.lift`.
        optimizer: local optimiser.
        mixer: how models are combined.

    Returns:
        An algorithm with ``init(key, params, extra=())``, params and extra stacked ``[n, ...]``,
        and ``update(state, batch, key)`` with batch leaves ``[n, ...]``. It reports ``loss`` and
        the metrics of the loss as means over clients.

    Raises:
        TypeError: if ``loss`` has neither form.
        ValueError: if client axes differ between params, extra, batch and mixer.

    Source: Lian et al. 2017, arXiv 1705.09056; Vogels et al. 2021, arXiv 2110.04175.
    """
    gradient = gradient_of(lift(loss))

    def init(key: Array, params: PyTree, extra: PyTree = ()) -> State:
        layout.num_clients((params, extra), "(params, extra)")
        opt_state = jax.vmap(optimizer.init)(params)
        clients = Clients(params, extra, opt_state, mixer.init(params))
        return State(clients, (), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = state.clients
        n = layout.num_clients((clients.params, batch), "(params, batch)")
        local_key, mix_key = jax.random.split(key)

        def local(
            params: PyTree, extra: PyTree, opt_state: PyTree, batch: PyTree, key: Array
        ) -> tuple:
            grads, extra, metrics = gradient(params, extra, batch, key)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), extra, opt_state, metrics

        half, extra, opt_state, metrics = layout.per_client(local)(
            clients.params, clients.extra, clients.opt_state, batch,
            layout.client_keys(local_key, n),
        )  # fmt: skip
        params, mixed = mixer.update(half, clients.mixer, key=mix_key, step=state.step)
        clients = Clients(params, extra, opt_state, mixed)
        return State(clients, state.shared, state.step + 1), mean_metrics(metrics)

    return Algorithm(init, update)
