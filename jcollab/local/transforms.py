"""Optax transforms that use what the server sends: its model, and a correction of the gradient.

They belong into an ``optax.chain`` before the optimiser. Builders with a server,
:func:`jcollab.federated` say, hand the two over as keyword arguments of ``update``:

    anchor       the model that the client started the round from, x
    correction   what is added to its gradients, see :mod:`jcollab.local.drift`
"""

from __future__ import annotations

from typing import Any

import jax
import optax

PyTree = Any


class ControlVariateState(optax.EmptyState):
    """Nothing; its type says that corrections are applied."""


def proximal(penalty: Any) -> optax.GradientTransformationExtraArgs:
    """Pulls towards the server's model: ``g + mu (y - x)``.

    The gradient of ``f_i(y) + (mu/2) ||y - x||^2``.

    Args:
        penalty: mu >= 0; may be a traced value.

    Raises:
        ValueError: if mu < 0; in ``update``, without ``params`` or an ``anchor``.

    Source: FedProx of Li et al. 2018, arXiv 1812.06127.
    """
    if not isinstance(penalty, jax.core.Tracer) and not penalty >= 0:
        raise ValueError(f"penalty must be at least 0, got {penalty}")

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, anchor: PyTree = None, **_: Any
    ) -> tuple[PyTree, Any]:
        if params is None or anchor is None:
            raise ValueError("anchor must be given: proximal needs a builder with a server's model")

        def pull(g: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
            return g + (penalty * (y - x)).astype(g.dtype)

        return jax.tree.map(pull, updates, params, anchor), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def control_variate() -> optax.GradientTransformationExtraArgs:
    """Corrects the gradient by what the method's drift says: ``g + c``.

    Raises:
        ValueError: in ``update``, without a ``correction``.

    Source: SCAFFOLD of Karimireddy et al. 2019, arXiv 1910.06378.
    """

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, correction: PyTree = None, **_: Any
    ) -> tuple[PyTree, Any]:
        if correction is None:
            raise ValueError("correction must be given: control_variate needs a drift, as scaffold")
        add = jax.tree.map(lambda g, c: g + c.astype(g.dtype), updates, correction)
        return add, state

    return optax.GradientTransformationExtraArgs(lambda params: ControlVariateState(), update)


def applies_corrections(opt_state: PyTree) -> bool:
    """Whether the optimiser of this state has :func:`control_variate` in it."""
    parts = jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, ControlVariateState))
    return any(isinstance(part, ControlVariateState) for part in parts)
