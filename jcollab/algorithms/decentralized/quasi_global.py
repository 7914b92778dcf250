"""Quasi-global momentum: momentum computed from mixed models instead of local gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, mean_over_clients
from jcollab.algorithms.model_state import ModelState, from_exchange, to_exchange, with_model_state
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
    lift,
    own_arrays,
    weighed,
    widen,
)

SMALLEST_RATE = 1e-8  # bounds the division by gamma in rounds where a schedule returns 0


class QuasiGlobal(NamedTuple):
    """Client part of the state; every leaf is ``[n, ...]``.

    Attributes:
        params: model parameters.
        model_state: state of the models.
        momentum: buffer m.
        mixer: state of the mixer.
    """

    params: PyTree
    model_state: PyTree
    momentum: PyTree
    mixer: PyTree


def quasi_global_momentum(
    loss: Loss,
    learning_rate: Any,
    mixer: Mixer,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    model_state: ModelState = "keep",
) -> Algorithm:
    """Builds SGD with a momentum buffer that averages the past movements of the mixed model.

        x(t+1/2) = x(t) - gamma ( g + mu (mu m + g) )            (Nesterov)
        x(t+1/2) = x(t) - gamma (mu m + g) / (1 + mu)            (otherwise)
        x(t+1) = mix( x(t+1/2) ),    m <- mu m + (1 - mu) ( x(t) - x(t+1) ) / gamma

    Args:
        loss: as for :func:`jcollab.decentralized`.
        learning_rate: gamma >= 0, a number, which is stored in ``state.shared`` (so that it can be
            swept or changed), or a schedule, a function of the round.
        mixer: how clients combine models.
        momentum: mu in [0, 1).
        nesterov: which of the two local steps to take.
        model_state: how the state of models is treated, see
            :data:`jcollab.algorithms.ModelState`: kept by each client; averaged (it is mixed
            together with the models); or frozen.

    Returns:
        An algorithm like :func:`jcollab.decentralized`.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if a number lies outside its range, or client axes differ.

    Example:
        >>> def loss(params, batch, key):
        ...     return jnp.sum(batch * params)  # the gradient is the batch
        >>> algorithm = jc.algorithms.quasi_global_momentum(
        ...     loss, 0.5, jc.identity(), momentum=0.5, nesterov=False
        ... )
        >>> state = algorithm.init(jnp.zeros((1, 1)))
        >>> batches = jc.data.full_batch(jnp.array([[3.0]]))
        >>> state, _ = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=1)
        >>> state.clients.params.tolist()  # -0.5 * 3 / (1 + 0.5)
        [[-1.0]]
        >>> state.clients.momentum.tolist()  # (1 - 0.5) * 1 / 0.5
        [[1.0]]

    Source: Lin et al. 2021, arXiv 2102.04761.
    """
    checks.kind(Mixer, mixer=mixer)
    if not callable(learning_rate):
        checks.number("learning_rate", learning_rate, at_least=0)
    checks.number("momentum", momentum, at_least=0, below=1)
    gradient = gradient_of(lift(with_model_state(loss, model_state)))
    how = model_state

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        zeros = optax.tree.zeros_like(params)
        # a state leaf rather than a constant of the program: a change causes no recompilation
        rate = () if callable(learning_rate) else jnp.asarray(learning_rate, jnp.result_type(float))
        clients = QuasiGlobal(
            params, model_state, zeros, mixer.init(to_exchange(params, model_state, how))
        )
        return State(clients, rate, jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, QuasiGlobal)
        n = layout.num_clients((clients.params, batch), ("params", "batch"))
        local_key, mix_key = jax.random.split(key)
        rate = jnp.asarray(learning_rate(state.step) if callable(learning_rate) else state.shared)

        def direction(m: Array, g: Array) -> Array:
            heavy = momentum * m + g
            return g + momentum * heavy if nesterov else heavy / (1 + momentum)

        def local(
            params: PyTree, model_state: PyTree, m: PyTree, batch: PyTree, key: Array
        ) -> tuple:
            grads, model_state, metrics = gradient(params, model_state, batch, key)

            def move(x: Array, m: Array, g: Array) -> Array:
                return (widen(x) - weighed(rate, direction(m, g))).astype(x.dtype)

            return jax.tree.map(move, params, m, grads), model_state, metrics

        half, model_state, metrics = layout.per_client(local)(
            clients.params,
            clients.model_state,
            clients.momentum,
            batch,
            layout.client_keys(local_key, n),
        )
        half, context = to_exchange(half, model_state, how), Round(mix_key, state.step, batch)
        new, mixed = mixer.update(half, clients.mixer, context)
        params, model_state = from_exchange(new, model_state, how)

        # The buffer changes after mixing: it averages how far the mixed model moved, which is close
        # to the mean gradient of all clients, not to the client's own one.
        def smooth(m: Array, before: Array, after: Array) -> Array:
            # in float32 or wider, so that the quotient is rounded once, to the type of the buffer
            moved = widen(before) - widen(after)
            movement = (moved / jnp.maximum(rate, SMALLEST_RATE).astype(moved.dtype)).astype(
                m.dtype
            )
            return (momentum * m + (1 - momentum) * movement).astype(m.dtype)

        buffer = jax.tree.map(smooth, clients.momentum, clients.params, params)
        clients = QuasiGlobal(params, model_state, buffer, mixed)
        return State(clients, state.shared, state.step + 1), mean_over_clients(metrics)

    return Algorithm(own_arrays(init), update, names=mixer.names)
