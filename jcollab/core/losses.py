"""One form for losses and models, with state and without."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jcollab import checks
from jcollab.core.types import Array, Metrics, PyTree

Objective = Callable[[PyTree, PyTree, PyTree, Array], tuple[Array, tuple[PyTree, Metrics]]]


@dataclasses.dataclass(frozen=True)
class Stateful:
    """A function of a model with state (batch statistics, an EMA teacher), see :func:`stateful`."""

    function: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        return self.function(*args, **kwargs)


def stateful(function: Callable) -> Stateful:
    """Marks a function that takes, after the parameters, what the model carries along.

        loss(params, model_state, batch, key) -> (value, model_state, metrics)
        predict(params, model_state, x) -> logits
        train(params, model_state, x, key) -> (logits, model_state)

    Builders take such a loss in place of ``loss(params, batch, key)``, and keep ``model_state`` of
    every client, stacked ``[n, ...]``.

    Args:
        function: the loss, or the function of a model.

    Raises:
        TypeError: if it is not callable.

    Example:
        >>> def loss(params, count, batch, key):
        ...     return jnp.sum(params * batch), count + 1, {"seen": count}
        >>> algorithm = jc.centralized(jc.stateful(loss), optax.sgd(0.1))
        >>> algorithm.init(jnp.zeros((2, 3)), jnp.zeros(2)).clients.model_state
        Array([0., 0.], dtype=float32)
    """
    checks.functions(function=function)
    return Stateful(function)


def lift(loss: Callable) -> Objective:
    """``loss(params, model_state, batch, key) -> (value, (model_state, metrics))`` from any form.

    Args:
        loss: for ONE client, ``loss(params, batch, key) -> value`` or ``-> (value, metrics)``, or
            of a model with state, see :func:`stateful`.

    Returns:
        The form that ``jax.value_and_grad(..., has_aux=True)`` takes.

    Raises:
        TypeError: if ``loss`` is not callable.
    """
    checks.functions(loss=loss)

    def lifted(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        if isinstance(loss, Stateful):
            value, model_state, metrics = loss(params, model_state, batch, key)
            return value, (model_state, metrics)
        value = loss(params, batch, key)
        value, metrics = value if isinstance(value, tuple) else (value, {})
        return value, (model_state, metrics)

    return lifted


def lift_predict(predict: Callable) -> Callable[[PyTree, PyTree, Any], Any]:
    """``predict(params, model_state, x)`` from ``predict(params, x)`` or a stateful one.

    Raises:
        TypeError: if ``predict`` is not callable.
    """
    checks.functions(predict=predict)
    if isinstance(predict, Stateful):
        return predict
    return lambda params, model_state, x: predict(params, x)


def lift_train(predict: Callable, train: Callable | None = None) -> Callable[..., tuple]:
    """``train(params, model_state, x, key) -> (result, model_state)`` of a model in training.

    Args:
        predict: what is used where there is no ``train``.
        train: ``train(params, x, key) -> result``, or a stateful one.

    Raises:
        TypeError: if one is given that is not callable.
    """
    if train is None:
        full = lift_predict(predict)
        return lambda params, model_state, x, key: (full(params, model_state, x), model_state)
    checks.functions(train=train)
    if isinstance(train, Stateful):
        return train
    return lambda params, model_state, x, key: (train(params, x, key), model_state)
