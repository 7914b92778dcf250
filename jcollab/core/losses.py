"""One form for losses and models, with and without model state.

Users write the short forms; algorithms call the lifted ones, so that each algorithm is written
once, for models with state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core.types import Array, Metrics, PyTree

Objective = Callable[[PyTree, PyTree, PyTree, Array], tuple[Array, tuple[PyTree, Metrics]]]


@dataclasses.dataclass(frozen=True)
class Stateful:
    """A marked function of a model with state, built by :func:`stateful`.

    Attributes:
        function: the marked function.
    """

    function: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        return self.function(*args, **kwargs)


Loss = Callable[[PyTree, PyTree, Array], Array | tuple[Array, Metrics]] | Stateful
"""A loss of ONE client, ``loss(params, batch, key) -> value`` or ``(value, metrics)``."""

Predict = Callable[[PyTree, Any], Any] | Stateful
"""A model, ``predict(params, x) -> result``."""

Train = Callable[[PyTree, Any, Array], Any] | Stateful
"""A model in training, ``train(params, x, key) -> result``."""


def stateful(function: Callable) -> Stateful:
    """Marks a loss or a model that has state, such as batch statistics or an EMA teacher.

    A marked function takes ``model_state`` after the parameters:

        loss(params, model_state, batch, key) -> (value, model_state, metrics)
        predict(params, model_state, x) -> logits
        train(params, model_state, x, key) -> (logits, model_state)

    Builders accept such a loss instead of ``loss(params, batch, key)``. Their argument
    ``model_state`` determines whether clients exchange the state, see
    :data:`jcollab.algorithms.ModelState`.

    Args:
        function: a function of one of these three forms.

    Raises:
        TypeError: if ``function`` is not callable.

    Example:
        >>> def loss(params, count, batch, key):
        ...     return jnp.sum(params * batch), count + 1, {"seen": count}
        >>> algorithm = jc.centralized(jc.stateful(loss), optax.sgd(0.1))
        >>> jc.core.model_state_of(algorithm.init(jnp.zeros((2, 3)), jnp.zeros(2)))
        Array([0.], dtype=float32)
    """
    checks.functions(function=function)
    return Stateful(function)


def lift(loss: Loss) -> Objective:
    """Lifts a loss to ``(params, model_state, batch, key) -> (value, (model_state, metrics))``.

    Args:
        loss: a loss of ONE client, ``loss(params, batch, key) -> value`` or ``(value, metrics)``,
            or a stateful one, see :func:`stateful`.

    Returns:
        The lifted loss, in the form that ``jax.value_and_grad(..., has_aux=True)`` requires.

    Raises:
        TypeError: if ``loss`` is not callable; when it is called, if its arguments or results have
            another form.
        ValueError: when it is called, if the returned model_state has another structure or shape.

    Example:
        >>> objective = lift(lambda params, batch, key: jnp.sum(params * batch))
        >>> objective(jnp.ones(2), (), jnp.array([1.0, 2.0]), jax.random.key(0))
        (Array(3., dtype=float32), ((), {}))
    """
    checks.functions(loss=loss)

    def lifted(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        if isinstance(loss, Stateful):
            form = "(params, model_state, batch, key)"
            returned = _call("loss", loss, form, params, model_state, batch, key)
            if not (isinstance(returned, tuple) and len(returned) == 3):
                raise TypeError(
                    "loss must return (value, model_state, metrics) where jc.stateful marks it, "
                    f"got {_shown(returned)}"
                )
            value, new, metrics = returned
            _check_form(model_state, new)
            return _checked(value), (new, metrics)
        value, metrics = _call("loss", loss, "(params, batch, key)", params, batch, key), {}
        if isinstance(value, tuple):
            if len(value) != 2:
                raise TypeError(
                    "loss must return value or (value, metrics), and where jc.stateful marks it "
                    f"(value, model_state, metrics), got {_shown(value)}"
                )
            value, metrics = value
        return _checked(value), (model_state, metrics)

    return lifted


def lift_predict(predict: Predict, name: str = "predict") -> Callable[[PyTree, PyTree, Any], Any]:
    """Lifts a model to ``predict(params, model_state, x)``.

    Args:
        predict: ``predict(params, x)``, or a stateful model.
        name: name of the model in error messages.

    Raises:
        TypeError: if ``predict`` is not callable; when it is called, if it takes other arguments.

    Example:
        >>> lift_predict(lambda params, x: params * x)(2.0, (), 3.0)
        6.0
    """
    checks.functions(**{name: predict})
    if isinstance(predict, Stateful):
        form = "(params, model_state, x)"
        return lambda params, model_state, x: _call(name, predict, form, params, model_state, x)
    return lambda params, model_state, x: _call(name, predict, "(params, x)", params, x)


def lift_train(
    predict: Predict, train: Train | None = None
) -> Callable[[PyTree, PyTree, Any, Array], tuple[Any, PyTree]]:
    """Lifts a model in training to ``(params, model_state, x, key) -> (result, model_state)``.

    Args:
        predict: the model in evaluation, used if ``train`` is None.
        train: ``train(params, x, key) -> result``, or a stateful one.

    Raises:
        TypeError: if a given function is not callable.

    Example:
        >>> lift_train(lambda params, x: params * x)(2.0, (), 3.0, jax.random.key(0))
        (6.0, ())
    """
    if train is None:
        full = lift_predict(predict)
        return lambda params, model_state, x, key: (full(params, model_state, x), model_state)
    checks.functions(train=train)
    if isinstance(train, Stateful):
        form = "(params, model_state, x, key)"
        return lambda params, model_state, x, key: _call(
            "train", train, form, params, model_state, x, key
        )
    return lambda params, model_state, x, key: (
        _call("train", train, "(params, x, key)", params, x, key),
        model_state,
    )


def _call(name: str, function: Callable, form: str, *args: Any) -> Any:
    """Calls a function; a TypeError about its arguments gets a note with the expected form."""
    # The call itself shows whether the arguments fit. The signature is not inspected: wrapped
    # functions hide theirs.
    try:
        return function(*args)
    except TypeError as error:
        if "argument" in str(error):
            error.add_note(
                f"{name} is called as {name}{form}. Mark it by jc.stateful({name}) if, and only "
                "if, it takes model_state after params."
            )
        raise


def _checked(value: Any) -> Any:
    """Returns the value of a loss; raises TypeError unless it is a real floating-point scalar."""
    # a Python float has no dtype, and is allowed: a constant loss is differentiable
    dtype = getattr(value, "dtype", type(value))
    if dtype is not float and not hasattr(value, "dtype"):
        raise TypeError(
            f"loss must return a float [] for one client, got {checks.described(value)}"
        )
    if np.shape(value) or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"loss must return a float [] for one client, got {dtype} {list(np.shape(value))}"
        )
    return value


def _check_form(given: PyTree, returned: PyTree) -> None:
    """Raises ValueError unless a loss returns a model_state with the names and shapes it got."""
    # A scan over rounds would fail too, but its message names neither the loss nor the leaf.
    before, after = (
        {
            jax.tree_util.keystr(path): f"of shape {list(jnp.shape(leaf))}"
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        for tree in (given, returned)
    )
    for path in dict.fromkeys([*before, *after]):
        must, got = (forms.get(path, "missing") for forms in (before, after))
        if must != got:
            raise ValueError(
                f"loss must return a model_state of the form that it gets, with model_state{path} "
                f"{must}, got {got}"
            )


def _shown(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"a tuple of {len(returned)}"
    return type(returned).__name__
