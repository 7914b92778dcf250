"""Gradient tracking: every client steps along its estimate of the mean gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.decentralized.d2 import Corrected
from jcollab.algorithms.local_step import local_step
from jcollab.algorithms.model_state import ModelState, from_exchange, to_exchange
from jcollab.core import (
    Algorithm,
    Array,
    Loss,
    Metrics,
    Mixer,
    PyTree,
    Round,
    State,
    clients_of,
    own_arrays,
)


def gradient_tracking(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mixer: Mixer,
    *,
    model_state: ModelState = "keep",
) -> Algorithm:
    """Builds gradient tracking, which mixes both the models and a correction of their updates.

        x(t+1) = W ( x(t) + u(t) + c(t) ),    c(t+1) = W ( c(t) + u(t) ) - u(t),    c(0) = 0

    With SGD this is ``x(t+1) = W (x(t) - gamma (g(t) - c'(t)))`` with ``c = gamma c'``. Clients
    send twice as much as with D-PSGD.

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer; ``u`` is its update, learning rate included.
        mixer: a linear mixer, ``gossip(topology)``.
        model_state: how the state of models is treated, as for :func:`jcollab.decentralized`.

    Returns:
        An algorithm like :func:`jcollab.decentralized`.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if client axes differ between params, model_state, batch and mixer.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> mixer = jc.gossip(jc.topology.ring(5))
        >>> algorithm = jc.algorithms.gradient_tracking(loss, optax.sgd(0.2), mixer)
        >>> state = algorithm.init(jnp.zeros((5, 1)))
        >>> targets = jc.data.full_batch(jnp.arange(5.0)[:, None])
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=60)
        >>> state.clients.params.round(3).tolist()  # the mean target, for every client
        [[2.0], [2.0], [2.0], [2.0], [2.0]]

    Source: Lorenzo and Scutari 2016; Pu and Nedic 2018, arXiv 1805.11454.
    """
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, mixer=mixer)
    how, take = model_state, local_step(loss, optimizer, model_state=model_state)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        own = to_exchange(params, model_state, how)
        opt_state, zeros = jax.vmap(optimizer.init)(params), optax.tree.zeros_like(own)
        # two independent exchanges in each round, so a mixer with memory needs two states
        both = (mixer.init(own), mixer.init(zeros))
        return State(Corrected(params, model_state, opt_state, both, zeros), (), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Corrected)
        local_key, mix_key, correction_key = jax.random.split(key, 3)
        stepped = take(clients, batch, local_key, state.step)
        of_params, of_correction = clients.mixer
        # u + c: for a mixer that preserves the mean, mean(c) stays 0, so that the mean model
        # moves by mean(u) as in centralized training
        moved = optax.apply_updates(clients.correction, stepped.value)
        context = Round(mix_key, state.step, batch)
        own = to_exchange(clients.params, clients.model_state, how)
        new, of_params = mixer.update(optax.apply_updates(own, moved), of_params, context)
        # another key: the losses and delays of the second exchange are independent of the first's
        context = context._replace(key=correction_key)
        mixed, of_correction = mixer.update(moved, of_correction, context)
        params, model_state = from_exchange(new, stepped.model_state, how)
        clients = Corrected(
            params,
            model_state,
            stepped.opt_state,
            (of_params, of_correction),
            optax.tree.cast_like(optax.tree.sub(mixed, stepped.value), mixed),
        )
        return State(clients, state.shared, state.step + 1), stepped.metrics

    return Algorithm(own_arrays(init), update, names=mixer.names)
