"""Accuracy of the models of a state on common test data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import (
    Array,
    Metrics,
    Predict,
    PyTree,
    State,
    is_right,
    lift_predict,
    model_state_of,
    program,
)
from jcollab.metrics.states import averaged_model, models_of


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
        metrics, classes = measure((models_of(state), carried), x, labels)
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
