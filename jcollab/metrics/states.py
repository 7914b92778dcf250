"""Metrics of a state: distances between models, variance of gradients, bytes sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, layout
from jcollab.core import (
    Array,
    Loss,
    Metrics,
    Mixer,
    PyTree,
    State,
    lift,
    model_state_of,
    named_metric,
    params_of,
    widen,
)


def averaged_model(state: State | PyTree) -> PyTree:
    """Computes the mean of the clients' models, leaves ``[...]``, in float32 or wider.

    Args:
        state: a State, or any pytree with leaves ``[n, ...]``.

    Example:
        >>> jc.metrics.averaged_model({"w": jnp.array([[0.0, 1.0], [2.0, 3.0]])})["w"].tolist()
        [1.0, 2.0]
    """

    def mean(leaf: Array) -> Array:
        return jnp.mean(widen(leaf), axis=0).astype(leaf.dtype)

    return jax.tree.map(mean, models_of(state))


def consensus_distance(state: State | PyTree) -> Array:
    """Computes the mean squared distance of models to their mean.

        (1/n) sum_i ||x_i - mean(x)||^2

    Args:
        state: a State, or any pytree with leaves ``[n, ...]``.

    Example:
        >>> float(jc.metrics.consensus_distance(jnp.array([0.0, 2.0])))
        1.0
    """
    models = jax.tree.map(widen, models_of(state))
    apart = jax.tree.map(lambda leaf: leaf - leaf.mean(0), models)
    return optax.tree.norm(apart, squared=True) / layout.num_clients(models)


def among(clients: Any, *metrics: Callable[[State], Any], prefix: str = "") -> Callable:
    """Builds an evaluation of some clients only, for example of the honest ones.

    Args:
        clients: the clients that are measured, as a mask, bool ``[n]``, or indices, int ``[r]``.
        *metrics: functions ``metric(state) -> array``, reported under the function's name, or
            ``metric(state) -> dict`` of arrays.
        prefix: prefix of every name.

    Returns:
        ``evaluate(state) -> dict``.

    Raises:
        TypeError: if ``clients`` is neither a mask nor indices, or a metric is not callable.
        ValueError: if no client is selected; when the evaluation is called, if a mask does not
            have length n, or an index is outside of 0..n-1.

    Example:
        >>> honest = jc.metrics.among([0, 1], jc.metrics.consensus_distance, prefix="honest_")
        >>> models = jnp.array([0.0, 2.0, 100.0])
        >>> honest(jc.State(jc.core.Clients(models, (), (), ()), (), jnp.int32(0)))
        {'honest_consensus_distance': Array(1., dtype=float32)}
    """
    checks.functions(**{f"metrics[{i}]": metric for i, metric in enumerate(metrics)})
    given = np.asarray(clients)
    if not given.any() and (given.dtype == bool or not given.size):
        raise ValueError("clients must have at least one client, got none")

    def evaluate(state: State) -> Metrics:
        n = layout.num_clients(state.clients, "state.clients")
        rows = checks.members(given, n, "clients", numbers=True)
        part = state._replace(clients=jax.tree.map(lambda leaf: leaf[rows], state.clients))
        return {prefix + name: v for m in metrics for name, v in named_metric(m, part).items()}

    return evaluate


def gradient_variance(
    loss: Loss, batch: PyTree, *, key: Array | None = None, prefix: str = ""
) -> Callable[[State], Metrics]:
    """Builds an evaluation of the variance over clients of their gradients at one model.

        Var(x) = (1/n) sum_i ||grad f_i(x) - g||^2,    g = (1/n) sum_i grad f_i(x)

    x is the server's model, or the mean of the clients' models if there is no server.

    Args:
        loss: ``loss(params, batch, key)`` of ONE client. For a model with state,
            ``jc.stateful(loss)``, which is evaluated with the state of each client, or that in the
            server's model.
        batch: data of f_i, leaves ``[n, ...]``. All n gradients are in memory at once.
        key: random key, for losses that use it; None for ``jax.random.key(0)``.
        prefix: prefix of every name.

    Returns:
        ``evaluate(state) -> dict`` with ``gradient_variance``, ``gradient_norm`` (of g) and
        ``mean_loss``.

    Raises:
        ValueError: if the leaves of batch have no common client axis, or a different one from the
            models.

    Example:
        >>> loss = lambda params, batch, key: 0.5 * jnp.sum((params - batch) ** 2)
        >>> evaluate = jc.metrics.gradient_variance(loss, jnp.array([1.0, 3.0]))
        >>> state = jc.State(jc.core.Clients(jnp.zeros(2), (), (), ()), (), jnp.int32(0))
        >>> {name: float(value) for name, value in evaluate(state).items()}  # gradients -1, -3
        {'gradient_variance': 1.0, 'gradient_norm': 2.0, 'mean_loss': 2.5}
    """
    n = layout.num_clients(batch, "batch")
    key = jax.random.key(0) if key is None else key
    objective = lift(loss)

    def slope(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, PyTree]:
        return jax.value_and_grad(lambda p: objective(p, model_state, batch, key)[0])(params)

    def evaluate(state: State) -> Metrics:
        if hasattr(state.clients, "params"):  # a server's model has no client axis to compare
            layout.num_clients((params_of(state), batch), ("params", "batch"))
        each = layout.per_client(slope, in_axes=(None, 0, 0, 0))
        carried = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape[1:])), model_state_of(state)
        )
        values, grads = each(averaged_model(state), carried, batch, layout.client_keys(key, n))
        mean = jax.tree.map(lambda leaf: leaf.mean(0), grads)
        return {
            f"{prefix}gradient_variance": consensus_distance(grads),
            f"{prefix}gradient_norm": optax.tree.norm(mean),
            f"{prefix}mean_loss": values.mean(),
        }

    return evaluate


def bytes_sent(mixer: Mixer, params: PyTree) -> np.ndarray:
    """Computes the bytes that each client sends in one round, float ``[n]``, from shapes.

    Args:
        mixer: any mixer.
        params: values that clients exchange, stacked ``[n, ...]``.

    Example:
        >>> jc.metrics.bytes_sent(jc.gossip(jc.topology.chain(3)), jnp.zeros((3, 10)))
        array([40., 80., 40.])
    """
    checks.kind(Mixer, mixer=mixer)
    return np.asarray(mixer.bytes_sent(params), dtype=float)


def models_of(state: State | PyTree) -> PyTree:
    """Returns the models of a state; stacked models are returned unchanged."""
    return params_of(state) if isinstance(state, State) else state
