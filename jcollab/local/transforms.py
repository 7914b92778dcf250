"""Optax transforms that depend on the round: its index, its first model and its corrections.

Builders pass extra arguments to the ``update`` of every optimizer, of clients and of servers:

    value        the loss at the parameters, before the step
    grad         its gradient
    value_fn     the loss as a function of the parameters, on the same batch and with the same key;
                 also ``obj_fn``, and its gradient ``grad_fn(params, i)``
    step         the communication round, int32 ``[]``, the same for all local steps of a round
    anchor       the model x at the start of the round: the server's model or, without a server, the
                 client's model
    correction   what a method adds to the gradients, see ``jcollab.local.methods``; only from
                 ``jcollab.federated``
    delay        server steps since the model at which the gradient was computed; only from
                 ``jcollab.algorithms.asynchronous`` to the optimizer of its server

The optimizer of a federated server receives the clients' mean update with the opposite sign as
``grad``, and the loss of the clients' first local steps, at the server's model, as ``value``.
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
    """Builds an optimizer whose parameters depend on the round t: ``u = build(t).update(g)``.

    Optax schedules count the steps of one optimizer, which is initialized in every federated round,
    or does not advance while its client is not sampled. Here every local step of every client in
    round t uses ``build(t)``, whether the states of optimizers are kept or not.

    Args:
        build: ``build(t) -> optimizer`` for rounds t = 0, 1, ..., int ``[]``, which is traced. The
            state of the optimizer must have the same form in every round.

    Raises:
        TypeError: if ``build`` is not callable.
        ValueError: in ``update``, without ``step``, which every builder passes.

    Example:
        >>> optimizer = jc.local.by_round(lambda t: optax.sgd(1.0 / (1 + t)))
        >>> updates, _ = optimizer.update(jnp.ones(1), optimizer.init(jnp.zeros(1)), step=3)
        >>> updates.tolist()
        [-0.25]
    """
    checks.functions(build=build)

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, step: Any = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        if step is None:
            raise ValueError("step must be given to by_round: update(..., step=t), got None")
        # Under x64, a schedule of an int32 step would be computed in float32.
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
    """Builds a transform that pulls toward the model of the round's start: ``g + mu (y - x)``.

    The result is the gradient of ``f_i(y) + (mu/2) ||y - x||^2``.

    Args:
        penalty: mu >= 0; may be traced.

    Raises:
        ValueError: if mu < 0; in ``update``, without ``params`` or an ``anchor``.

    Example:
        >>> pull = jc.local.proximal(0.5)
        >>> gradient, y, x = jnp.array([1.0]), jnp.array([5.0]), jnp.array([1.0])
        >>> updates, _ = pull.update(gradient, pull.init(y), y, anchor=x)
        >>> updates.tolist()  # 1 + 0.5 (5 - 1)
        [3.0]

    Source: FedProx of Li et al. 2018, arXiv 1812.06127.
    """
    checks.number("penalty", penalty, at_least=0)

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, anchor: PyTree = None, **_: Any
    ) -> tuple[PyTree, Any]:
        if params is None or anchor is None:
            raise ValueError("anchor and params must be given to proximal, got None")

        def pull(g: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
            return g + (penalty * (y - x)).astype(g.dtype)

        return jax.tree.map(pull, updates, params, anchor), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def control_variate() -> optax.GradientTransformationExtraArgs:
    """Builds a transform that adds the correction of a federated method: ``g + c``.

    Raises:
        ValueError: in ``update``, without a ``correction``.

    Example:
        >>> transform = jc.local.control_variate()
        >>> updates, _ = transform.update(jnp.ones(1), (), correction=jnp.array([-0.25]))
        >>> updates.tolist()
        [0.75]

    Source: SCAFFOLD of Karimireddy et al. 2019, arXiv 1910.06378.
    """

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, correction: PyTree = None, **_: Any
    ) -> tuple[PyTree, Any]:
        if correction is None:
            raise ValueError(
                "correction must be given to control_variate, by a method with one, got None"
            )
        add = jax.tree.map(lambda g, c: g + c.astype(g.dtype), updates, correction)
        return add, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
