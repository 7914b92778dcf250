"""Optax transforms that use what they get from the round: its number, model and correction.

Builders pass extra arguments to the ``update`` of every optimizer, of clients and of servers:

    value        the loss at the parameters, before the step
    grad         its gradient
    value_fn     the loss as a function of the parameters, on the same batch and with the same key;
                 also ``obj_fn``, and its gradient ``grad_fn(params, i)``
    step         the communication round, int32 ``[]``, the same for all local steps of a round
    anchor       the model that the round began with, x: that of the server, or without a server
                 the client's own
    correction   what is added to the gradients, see :mod:`jcollab.local.methods`; from
                 :func:`jcollab.federated` alone
    delay        server steps since the gradient's model; from
                 :func:`jcollab.algorithms.asynchronous` to its server's optimizer alone

The optimizer of a federated server gets the clients' mean update as ``grad`` (with the opposite
sign), and losses of the clients' first local steps, at the server's model, as ``value``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks

PyTree = Any


def by_round(
    build: Callable[[jax.Array], optax.GradientTransformation],
) -> optax.GradientTransformationExtraArgs:
    """An optimizer whose numbers depend on the communication round t: ``u = build(t).update(g)``.

    The schedules of optax count the steps of one optimizer, which starts afresh in every federated
    round, or stands still while its client is not sampled. Here every local step of every client in
    round t has the numbers of round t, whether states of optimizers are kept or not.

    Args:
        build: ``build(t) -> optimizer`` for rounds t = 0, 1, ..., int ``[]``, which is traced. The
            state of the optimizer must have the same form in every round.

    Raises:
        TypeError: if ``build`` is not callable.
        ValueError: in ``update``, without ``step``, which every builder passes.

    Example:
        >>> rate = optax.exponential_decay(0.1, transition_steps=10, decay_rate=0.5)
        >>> optimizer = jc.local.by_round(lambda t: optax.sgd(rate(t), momentum=0.9))
    """
    checks.functions(build=build)

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, step: Any = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        if step is None:
            raise ValueError("step must be given to by_round: update(..., step=t), got None")
        # under x64, schedules of an int32 would be computed in float32
        optimizer = optax.with_extra_args_support(build(jnp.asarray(step, int)))
        return optimizer.update(updates, state, params, step=step, **extra)

    def init(params: PyTree) -> PyTree:
        first = build(jnp.asarray(0))
        if not isinstance(first, optax.GradientTransformation):
            kind = type(first).__name__
            raise TypeError(f"build must return an optax.GradientTransformation, got {kind}")
        return first.init(params)

    return optax.GradientTransformationExtraArgs(init, update)


def proximal(penalty: Any) -> optax.GradientTransformationExtraArgs:
    """Pulls towards the server's model: ``g + mu (y - x)``.

    The gradient of ``f_i(y) + (mu/2) ||y - x||^2``.

    Args:
        penalty: mu >= 0; may be a traced value.

    Raises:
        ValueError: if mu < 0; in ``update``, without ``params`` or an ``anchor``.

    Source: FedProx of Li et al. 2018, arXiv 1812.06127.
    """
    checks.number("penalty", penalty, at_least=0)

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, anchor: PyTree = None, **_: Any
    ) -> tuple[PyTree, Any]:
        if params is None or anchor is None:
            raise ValueError("anchor must be given to proximal, with params, got None")

        def pull(g: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
            return g + (penalty * (y - x)).astype(g.dtype)

        return jax.tree.map(pull, updates, params, anchor), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def control_variate() -> optax.GradientTransformationExtraArgs:
    """Adds the correction of a federated method to the gradient: ``g + c``.

    Raises:
        ValueError: in ``update``, without a ``correction``.

    Source: SCAFFOLD of Karimireddy et al. 2019, arXiv 1910.06378.
    """

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, correction: PyTree = None, **_: Any
    ) -> tuple[PyTree, Any]:
        if correction is None:
            raise ValueError(
                "correction must be given: control_variate needs a method with a correction"
            )
        add = jax.tree.map(lambda g, c: g + c.astype(g.dtype), updates, correction)
        return add, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
