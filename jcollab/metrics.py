"""Metrics of a state: how good the models are, and how far apart."""

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
    Predict,
    PyTree,
    State,
    is_right,
    lift,
    lift_predict,
    model_state_of,
    named_metric,
    params_of,
    program,
    widen,
)


def averaged_model(state: State | PyTree) -> PyTree:
    """The mean of the clients' models, ``[...]``, taken in float32 or wider."""

    def mean(leaf: Array) -> Array:
        return jnp.mean(widen(leaf), axis=0).astype(leaf.dtype)

    return jax.tree.map(mean, _models(state))


def consensus_distance(state: State | PyTree) -> Array:
    """Mean squared distance to the averaged model: ``(1/n) sum_i ||x_i - mean(x)||^2``.

    Args:
        state: a State, or any pytree with leaves ``[n, ...]``.

    Example:
        >>> float(jc.metrics.consensus_distance(jnp.array([0.0, 2.0])))
        1.0
    """
    models = jax.tree.map(widen, _models(state))
    apart = jax.tree.map(lambda leaf: leaf - leaf.mean(0), models)
    return optax.tree.norm(apart, squared=True) / layout.num_clients(models)


def accuracy(predict: Predict, x: Any, y: Any, *, batch_size: int = 128) -> Callable:
    """Builds an evaluation of every client's model on common test data.

    Args:
        predict: ``predict(params, x) -> logits [N, C]`` of one model; of a model with state (batch
            statistics), ``jc.stateful(predict)`` of ``predict(params, model_state, x)``.
        x: inputs ``[N, ...]``; may be traced, and so may the labels.
        y: labels, int ``[N]``.
        batch_size: examples that a model sees at a time, which bounds the memory.

    Returns:
        ``evaluate(state) -> dict`` with ``mean_accuracy`` and ``worst_accuracy`` over clients,
        ``averaged_model_accuracy`` of the mean of their models (and of their states), and
        ``client_accuracy`` ``[n]``; NaN where logits are NaN. Where a server has the one model, n
        is 1; where clients keep the state of that model (``model_state="keep"``), the model of
        client i is the server's with the client's own state, which for a client that was never
        sampled is that of ``init``.
        In place of a state it takes stacked models as well, for example those of one group of
        clients.

    Raises:
        TypeError: if ``predict`` is not callable, or labels are no integers.
        ValueError: if x and y differ in length or are empty, y has another shape, or batch_size
            < 1; when it is used, if a label is outside of 0..C-1.
    """
    lift_predict(predict)
    if len(x) != len(y) or len(y) == 0:
        raise ValueError(f"x and y must have one length of at least 1, got {len(x)} and {len(y)}")
    checks.labels("y", y, (len(x),))
    checks.count("batch_size", batch_size)
    total, xp = len(y), jnp if checks.traced(x, y) else np
    whole = -(-total // batch_size) if total > batch_size else 1
    size = -(-total // whole)
    rest = whole * size - total  # the first examples once more, with a label that is never right
    rows = np.resize(np.arange(total), whole * size)
    labels = xp.where(np.arange(whole * size) < total, xp.asarray(y)[rows], -1) if rest else y
    x = jnp.asarray(xp.asarray(x)[rows] if rest else x)
    x, labels = x.reshape(whole, size, *x.shape[1:]), jnp.asarray(labels).reshape(whole, size)

    def evaluate(state: State | PyTree) -> Metrics:
        carried = model_state_of(state) if isinstance(state, State) else ()
        measure = program(predict, ("accuracy", total), lambda get: _accuracy(get, total))
        # the test data is an argument of the compiled function, not a constant inside it
        metrics, classes = measure((_models(state), carried), x, labels)
        checks.labels("y", y, (total,), classes.shape[-1])
        return metrics

    return evaluate


def _accuracy(get: Callable[[], Predict], total: int) -> Callable:
    """``measure((params, model_state), x, labels)``: metrics, and zeros whose last axis is C."""

    def measure(models: PyTree, x: Array, labels: Array) -> tuple[Metrics, Array]:
        look = lift_predict(get())

        def correct(params: PyTree, model_state: PyTree) -> tuple[Array, Array]:
            def right(part: tuple[Array, Array]) -> tuple[Array, Array]:
                logits = look(params, model_state, part[0])
                return is_right(logits, part[1]).sum(), jnp.zeros(logits.shape[-1:])

            if len(x) == 1:
                count, classes = right((x[0], labels[0]))
                return count / total, classes
            counts, classes = jax.lax.map(right, (x, labels))
            return counts.sum() / total, classes[0]

        each, classes = per_model(correct)(*models)
        return {
            "mean_accuracy": each.mean(),
            "worst_accuracy": each.min(),
            "averaged_model_accuracy": correct(*averaged_model(models))[0],
            "client_accuracy": each,
        }, classes

    return jax.jit(measure)


def per_model(fn: Callable) -> Callable:
    """``fn(params, model_state, *common)`` of ONE model, lifted to all models of a state.

    Args:
        fn: the function; ``common`` is the same for all.

    Returns:
        A function of ``params_of(state)``, ``model_state_of(state)`` and ``common``, whose results
        are ``[n, ...]``: one for each client also where the one model of a server has the state of
        each client.
    """

    def length(tree: PyTree) -> int:
        return len(jax.tree.leaves(tree)[0]) if jax.tree.leaves(tree) else 0

    def mapped(params: PyTree, model_state: PyTree, *common: Any) -> PyTree:
        shared = length(params) < length(model_state)
        if shared:
            params = jax.tree.map(lambda leaf: leaf[0], params)
        axes = (None if shared else 0, 0, *(None for _ in common))
        return layout.per_client(fn, in_axes=axes)(params, model_state, *common)

    return mapped


def among(clients: Any, *metrics: Callable[[State], Any], prefix: str = "") -> Callable:
    """Metrics of some of the clients only: the honest ones, or a clique.

    Args:
        clients: the clients that are measured, bool ``[n]`` or their numbers, int ``[r]``.
        *metrics: functions ``metric(state) -> array`` (reported under the function's name) or
            ``-> dict`` of arrays.
        prefix: put before every name.

    Returns:
        ``evaluate(state) -> dict``.

    Raises:
        TypeError: if ``clients`` is neither a mask nor numbers of clients, or a metric is not
            callable.
        ValueError: if there is no client; when it is used, if a mask has another length than n,
            or clients are none of 0..n-1.

    Example:
        >>> honest = among(jnp.array([True, True, False]), consensus_distance, prefix="honest_")
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
    """Builds an evaluation of how far the clients' gradients at one model lie apart.

        Var(x) = (1/n) sum_i ||grad f_i(x) - g||^2,    g = (1/n) sum_i grad f_i(x)

    x is the server's model, or the average of the clients' models where there is no server.

    Args:
        loss: ``loss(params, batch, key)`` of ONE client, or of a model with state
            ``jc.stateful(loss)``, evaluated with the state of each client, or of the server's
            model.
        batch: the data that f_i is taken over, leaves ``[n, ...]``; all n gradients are in memory
            at once.
        key: for losses that use one.
        prefix: put before every name.

    Returns:
        ``evaluate(state) -> dict`` with ``gradient_variance``, ``gradient_norm`` (of g) and
        ``mean_loss``.

    Raises:
        ValueError: if the leaves of batch have no common client axis, or another than the models.
    """
    n = layout.num_clients(batch, "batch")
    key = jax.random.key(0) if key is None else key
    objective = lift(loss)

    def slope(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, PyTree]:
        return jax.value_and_grad(lambda p: objective(p, model_state, batch, key)[0])(params)

    def evaluate(state: State) -> Metrics:
        if hasattr(state.clients, "params"):  # not one model of a server
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
    """Bytes that each client sends in one round, float ``[n]``, counted from the shapes.

    Args:
        mixer: any mixer.
        params: what is exchanged, stacked ``[n, ...]``.

    Example:
        >>> jc.metrics.bytes_sent(jc.gossip(jc.topology.chain(3)), jnp.zeros((3, 10)))
        array([40., 80., 40.])
    """
    checks.kind(Mixer, mixer=mixer)
    return np.asarray(mixer.bytes_sent(params), dtype=float)


def _models(state: State | PyTree) -> PyTree:
    return params_of(state) if isinstance(state, State) else state
