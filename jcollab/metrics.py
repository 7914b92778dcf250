"""Metrics of a state: accuracy of the models, distances between them, bytes sent."""

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
    """Computes the mean of the clients' models, leaves ``[...]``, in float32 or wider.

    Args:
        state: a State, or any pytree with leaves ``[n, ...]``.

    Example:
        >>> jc.metrics.averaged_model({"w": jnp.array([[0.0, 1.0], [2.0, 3.0]])})["w"].tolist()
        [1.0, 2.0]
    """

    def mean(leaf: Array) -> Array:
        return jnp.mean(widen(leaf), axis=0).astype(leaf.dtype)

    return jax.tree.map(mean, _models(state))


def consensus_distance(state: State | PyTree) -> Array:
    """Computes the mean squared distance of models to their mean.

        (1/n) sum_i ||x_i - mean(x)||^2

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
        predict: ``predict(params, x) -> logits [N, C]`` of one model. For a model with state (batch
            statistics), ``jc.stateful(predict)`` of ``predict(params, model_state, x)``.
        x: inputs ``[N, ...]``. Inputs and labels may be traced.
        y: labels, int ``[N]``.
        batch_size: number of examples per call of ``predict``, which bounds the memory.

    Returns:
        ``evaluate(state) -> dict`` with ``mean_accuracy`` and ``worst_accuracy`` over clients,
        ``averaged_model_accuracy`` of the mean of their models (and of their states), and
        ``client_accuracy`` ``[n]``; NaN where logits are NaN. If a server has the only model, n
        is 1. If clients keep the state of that model (``model_state="keep"``), the model of client
        i has the server's parameters and the client's state, which is the first state if the client
        was never sampled. Instead of a state, ``evaluate`` also accepts stacked models, for example
        those of one group of clients.

    Raises:
        TypeError: if ``predict`` is not callable, or labels are not integers.
        ValueError: if x and y differ in length or are empty, y has another shape, or batch_size
            < 1; when the evaluation is called, if a label is outside of 0..C-1.

    Example:
        >>> x, y = jnp.array([[-1.0], [1.0]]), jnp.array([0, 1])
        >>> predict = lambda params, x: jnp.concatenate([-x, x], axis=1) * params
        >>> evaluate = jc.metrics.accuracy(predict, x, y)
        >>> evaluate(jnp.array([1.0, -1.0]))["client_accuracy"].tolist()  # two models
        [1.0, 0.0]
    """
    lift_predict(predict)
    if len(x) != len(y) or len(y) == 0:
        raise ValueError(f"x and y must have one length of at least 1, got {len(x)} and {len(y)}")
    checks.labels("y", y, (len(x),))
    checks.count("batch_size", batch_size)
    total, xp = len(y), jnp if checks.traced(x, y) else np
    # Batches of equal size, the last one filled up: a loop over batches needs one shape, and equal
    # sizes leave the fewest copies.
    whole = -(-total // batch_size) if total > batch_size else 1
    size = -(-total // whole)
    rest = whole * size - total  # copies of the first examples, with label -1: never right
    rows = np.resize(np.arange(total), whole * size)
    labels = xp.where(np.arange(whole * size) < total, xp.asarray(y)[rows], -1) if rest else y
    x = jnp.asarray(xp.asarray(x)[rows] if rest else x)
    x, labels = x.reshape(whole, size, *x.shape[1:]), jnp.asarray(labels).reshape(whole, size)

    def evaluate(state: State | PyTree) -> Metrics:
        carried = model_state_of(state) if isinstance(state, State) else ()
        measure = program(predict, ("accuracy", total), lambda get: _accuracy(get, total))
        # The test data is an argument of the compiled function: a constant would be in memory once
        # more for each program.
        metrics, classes = measure((_models(state), carried), x, labels)
        checks.labels("y", y, (total,), classes.shape[-1])
        return metrics

    return evaluate


def _accuracy(get: Callable[[], Predict], total: int) -> Callable:
    """Builds ``measure((params, model_state), x, labels) -> (metrics, zeros [..., C])``.

    The shape of the zeros shows C, which is known only when the model is traced.
    """

    def measure(models: PyTree, x: Array, labels: Array) -> tuple[Metrics, Array]:
        look = lift_predict(get())

        def correct(params: PyTree, model_state: PyTree) -> tuple[Array, Array]:
            def right(part: tuple[Array, Array]) -> tuple[Array, Array]:
                logits = look(params, model_state, part[0])
                return is_right(logits, part[1]).sum(), jnp.zeros(logits.shape[-1:])

            if len(x) == 1:  # no loop: one batch compiles and runs faster without it
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

    return jax.jit(measure, compiler_options=layout.compiler_options())


def per_model(fn: Callable) -> Callable:
    """Lifts ``fn(params, model_state, *common)`` of ONE model to all models of a state.

    Args:
        fn: the function. ``common`` is the same for all models.

    Returns:
        A function of ``params_of(state)``, ``model_state_of(state)`` and ``common``. Its results
        are ``[n, ...]``, one for each client, also if a server has the parameters and the clients
        have the model states.

    Example:
        >>> norm = jc.metrics.per_model(lambda params, model_state: jnp.linalg.norm(params))
        >>> norm(jnp.array([[3.0, 4.0], [0.0, 2.0]]), ()).tolist()
        [5.0, 2.0]
    """

    def length(tree: PyTree) -> int:
        return len(jax.tree.leaves(tree)[0]) if jax.tree.leaves(tree) else 0

    def mapped(params: PyTree, model_state: PyTree, *common: Any) -> PyTree:
        shared = length(params) < length(model_state)  # [1, ...] of a server, [n, ...] of clients
        if shared:
            params = jax.tree.map(lambda leaf: leaf[0], params)
        axes = (None if shared else 0, 0, *(None for _ in common))
        return layout.per_client(fn, in_axes=axes)(params, model_state, *common)

    return mapped


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


def _models(state: State | PyTree) -> PyTree:
    return params_of(state) if isinstance(state, State) else state
