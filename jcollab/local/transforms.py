"""Optax transforms that use what the server sends: its model, and a correction of the gradient.

They belong into an ``optax.chain`` before the optimizer, and use two extra arguments of ``update``:

    anchor       the model that the round began with, x: that of the server, or without a server
                 the client's own; every builder passes it
    correction   what is added to the gradients, see :mod:`jcollab.local.methods`; passed by
                 :func:`jcollab.federated`

Every builder also passes those that optax itself uses: ``value``, ``grad`` and ``value_fn``.
"""

from __future__ import annotations

from typing import Any

import jax
import optax

from jcollab import checks

PyTree = Any


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
