"""What the builders share: one local step of all clients, and means of client metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, layout
from jcollab.core import Array, Metrics, Objective, PyTree, lift, lift_predict


class Stepped(NamedTuple):
    """What a local step leaves, for all clients.

    Attributes:
        value: what ``finish`` made of the step, ``[n, ...]``.
        model_state: what the loss carries along, ``[n, ...]``.
        opt_state: of the local optimisers, ``[n, ...]``.
        metrics: means over clients, the loss as ``"loss"``.
    """

    value: PyTree
    model_state: PyTree
    opt_state: PyTree
    metrics: Metrics


def local_step(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    finish: Callable[[PyTree, PyTree], PyTree] = lambda params, updates: updates,
    *,
    learners: Any = None,
    honest: Any = None,
) -> Callable[..., Stepped]:
    """One optimiser step of every client on its own batch.

    Args:
        loss: see :func:`jcollab.core.lift`.
        optimizer: local optimiser.
        finish: ``finish(params, updates) -> value`` for one client.
        learners: bool ``[n]``, who takes a step; the updates of the others are 0. None for all.
        honest: bool ``[n]``, whose metrics are averaged; None for the learners.

    Returns:
        ``step(clients, batch, key) -> Stepped``; ``clients`` has the fields ``params``,
        ``model_state`` and ``opt_state``.

    Raises:
        ValueError: in ``step``, if a mask has another length than n, holds nobody, or an honest
            client is no learner.
    """
    gradient = gradient_of(lift(loss))

    def step(clients: Any, batch: PyTree, key: Array) -> Stepped:
        n = layout.num_clients((clients.params, batch), "(params, batch)")
        rows = checks.members(learners, n, "learners")
        reporting = rows if honest is None else checks.members(honest, n, "honest")
        if idle := set(reporting) - set(rows):
            raise ValueError(f"honest must be among the learners, but {sorted(idle)} are not")

        def local(
            params: PyTree, model_state: PyTree, opt_state: PyTree, batch: PyTree, key: Array
        ) -> tuple:
            grads, model_state, metrics = gradient(params, model_state, batch, key)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return finish(params, updates), model_state, opt_state, metrics

        each = layout.per_client(local, only=None if len(rows) == n else rows)
        keys = layout.client_keys(key, n)
        *fresh, metrics = each(clients.params, clients.model_state, clients.opt_state, batch, keys)
        if len(rows) < n:
            still = jax.tree.map(jnp.zeros_like, clients.params)
            old = [jax.vmap(finish)(clients.params, still), clients.model_state, clients.opt_state]
            fresh = jax.tree.map(lambda leaf, new: leaf.at[rows].set(new), old, fresh)
        if len(reporting) < len(rows):
            places = np.searchsorted(rows, reporting)
            metrics = jax.tree.map(lambda leaf: leaf[places], metrics)
        value, model_state, opt_state = fresh
        return Stepped(value, model_state, opt_state, mean_metrics(metrics))

    return step


def gradient_of(objective: Objective) -> Callable[..., tuple[PyTree, PyTree, Metrics]]:
    """``gradient(params, model_state, batch, key) -> (grads, model_state, metrics)``, one client.

    Args:
        objective: a loss in its full form, see :func:`jcollab.core.lift`.

    Returns:
        The function; its metrics hold the loss as ``"loss"`` beside those of the objective.
    """
    differentiate = jax.value_and_grad(objective, has_aux=True)

    def gradient(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Metrics]:
        (value, (model_state, metrics)), grads = differentiate(params, model_state, batch, key)
        return grads, model_state, {"loss": value, **metrics}

    return gradient


def mean_metrics(metrics: Metrics) -> Metrics:
    """Means over the client axis of metrics with leaves ``[n, ...]``."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), metrics)


def add(*trees: PyTree) -> PyTree:
    """Leaf-wise sum, in the type of the first tree."""
    return jax.tree.map(lambda first, *rest: sum(rest, start=first).astype(first.dtype), *trees)


def subtract(left: PyTree, right: PyTree) -> PyTree:
    """Leaf-wise difference, in the type of the left tree."""
    return jax.tree.map(lambda a, b: (a - b).astype(a.dtype), left, right)


def lift_train(predict: Callable, train: Callable | None = None) -> Callable[..., tuple]:
    """``train(params, model_state, x, key) -> (result, model_state)``: given, or of ``predict``.

    Raises:
        TypeError: if there is none and ``predict`` has another form.
    """
    if train is not None:
        return train
    full_predict = lift_predict(predict)
    return lambda params, model_state, x, key: (full_predict(params, model_state, x), model_state)
