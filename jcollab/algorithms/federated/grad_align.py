"""Gradient alignment: parallel SGD that also reduces the variance of the clients' gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.centralized import (
    Carried,
    after,
    centralized,
    mean_loss,
    model_states,
    server_step,
)
from jcollab.algorithms.local_step import gradient_of, mean_over_clients
from jcollab.algorithms.model_state import ModelState, with_model_state
from jcollab.core import Algorithm, Array, Loss, Metrics, PyTree, State, clients_of, lift, widen


def grad_align(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    beta: Any,
    *,
    model_state: ModelState = "average",
) -> Algorithm:
    """Builds SGD with gradients at points displaced along each client's deviation from the mean.

        g_i = grad f_i(x),    v_i = beta (g_i - (1/n) sum_j g_j)
        x(t+1) = x(t) + u(t),    u(t) from  (1/n) sum_i grad f_i(x + v_i)

    The direction is the gradient of ``f + (beta/2) (1/n) sum_i ||g_i - g||^2`` up to ``O(beta^2)``,
    and exactly for quadratics. With ``beta = gamma / 2`` it contains the implicit regularizer of
    sequential SGD with learning rate gamma over the same n batches. With beta = 0 the algorithm is
    :func:`jcollab.centralized`; otherwise a round costs twice as many gradients and messages.

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: optimizer of the model.
        beta: displacement >= 0, a number (possibly traced).
        model_state: how the state of the model is treated, as for :func:`jcollab.centralized`; the
            new state is the one of the first gradients.

    Returns:
        An algorithm like :func:`jcollab.centralized`, which also reports ``gradient_variance``,
        ``(1/n) sum_i ||g_i - g||^2``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if beta < 0, or client axes differ.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * batch * params**2  # curvatures 1 and 3
        >>> algorithm = jc.algorithms.grad_align(loss, optax.sgd(0.5), beta=0.5)
        >>> state = algorithm.init(jnp.ones(2))  # gradients 1 and 3: variance 1
        >>> batches = jc.data.full_batch(jnp.array([1.0, 3.0]))
        >>> state, metrics = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=1)
        >>> metrics["gradient_variance"].tolist()
        [1.0]
        >>> jc.params_of(state).tolist()  # 1 - 0.5 (1 * 0.5 + 3 * 1.5) / 2
        [-0.25]

    Source: Dandi, Barba and Jaggi 2021, arXiv 2106.13897.
    """
    checks.optimizers(optimizer=optimizer)
    checks.number("beta", beta, at_least=0)
    objective = lift(with_model_state(loss, model_state))
    gradient = gradient_of(objective)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Carried)
        n = layout.num_clients((clients.model_state, batch), ("model_state", "batch"))
        params = state.shared.params
        # both passes use the same batch and key of a client, so that dropout and augmentation are
        # the same and only the displacement differs
        keys, given = layout.client_keys(key, n), model_states(state, n)
        own, model_state, metrics = layout.per_client(gradient, in_axes=(None, 0, 0, 0))(
            params, given, batch, keys
        )
        mean = mean_over_clients(own)

        def displaced(
            params: PyTree,
            mean: PyTree,
            own: PyTree,
            model_state: PyTree,
            batch: PyTree,
            key: Array,
        ) -> PyTree:
            def move(p: Array, g: Array, m: Array) -> Array:
                return (p + beta * (g - m)).astype(p.dtype)

            # its model state is discarded: statistics must be those at x, not at displaced points
            return gradient(jax.tree.map(move, params, own, mean), model_state, batch, key)[0]

        # at beta = 0 the second pass would compute the same gradients again
        grads = mean
        if checks.traced(beta) or beta != 0:
            each = layout.per_client(displaced, in_axes=(None, None, 0, 0, 0, 0))
            grads = mean_over_clients(each(params, mean, own, given, batch, keys))
        metrics = mean_over_clients(metrics)
        value_fn = mean_loss(objective, given, batch, keys)
        shared = server_step(optimizer, state.shared, grads, metrics["loss"], value_fn, state.step)
        metrics = metrics | {"gradient_variance": _spread(own, mean)}
        return after(state, shared, model_state), metrics

    return Algorithm(centralized(loss, optimizer, model_state=model_state).init, update)


def _spread(own: PyTree, mean: PyTree) -> Array:
    squares = jax.tree.map(
        lambda g, m: jnp.sum((widen(g) - widen(m)[None]) ** 2) / len(g), own, mean
    )
    return jax.tree.reduce(jnp.add, squares)
