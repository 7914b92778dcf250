"""Models of which clients share a part: the loss and the optimizer of both parts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab.algorithms.federated.state import Parts
from jcollab.algorithms.local_step import optimizer_update
from jcollab.core import Array, Objective, PyTree, merge
from jcollab.local import Sharing


def of_parts(objective: Objective) -> Objective:
    """Returns the loss as a function of the parts of a model."""

    def loss(parts: Parts, model_state: PyTree, batch: PyTree, key: Array) -> Any:
        return objective(merge(parts.shared, parts.personal), model_state, batch, key)

    return loss


def optimizer_of_parts(
    shared: optax.GradientTransformationExtraArgs, personal: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """Returns an optimizer of :class:`Parts`, with a state for each part, or of the only one.

    The method (SCAFFOLD, FedProx) belongs to the optimizer of the shared leaves: a correction or a
    penalty is about what clients exchange.
    """

    def init(parts: Parts) -> PyTree:
        state = shared.init(parts.shared)
        if not jax.tree.leaves(parts.personal):
            return state
        return Parts(state, personal.init(parts.personal))

    def update(
        grads: Parts,
        state: PyTree,
        params: Parts | None = None,
        *,
        value: Array,
        value_fn: Any,
        anchor: Parts,
        step: Array,
        correction: PyTree = None,
        **others: Any,
    ) -> tuple[Parts, PyTree]:
        del others  # value and value_fn give the rest, for each part
        assert params is not None
        y, z = params
        alone = not jax.tree.leaves(z)
        common = {"value": value, "step": step}
        u, fresh = optimizer_update(
            shared,
            grads.shared,
            state if alone else state.shared,
            y,
            value_fn=lambda y: value_fn(Parts(y, z)),
            anchor=anchor.shared,
            correction=correction,
            **common,
        )
        if alone:
            return Parts(u, z), fresh
        v, own = optimizer_update(
            personal,
            grads.personal,
            state.personal,
            z,
            value_fn=lambda z: value_fn(Parts(y, z)),
            anchor=anchor.personal,
            **common,
        )
        return Parts(u, v), Parts(fresh, own)

    return optax.GradientTransformationExtraArgs(init, update)


def alternate(sharing: Sharing | None, k: Array, old: PyTree, new: PyTree) -> PyTree:
    """Returns the parts after local step k, of which only one changes if they train in turn.

    Args:
        sharing: with the number of first steps, which train the personal leaves.
        k: index of the local step.
        old: :class:`Parts` before the step, of the model or of the state of its optimizer.
        new: the same after a step that trains both.
    """
    if sharing is None or sharing.personal_steps is None or not isinstance(new, Parts):
        return new
    on = k >= sharing.personal_steps

    def pick(flag: Array, after: PyTree, before: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.where(flag, a, b), after, before)

    return Parts(pick(on, new.shared, old.shared), pick(~on, new.personal, old.personal))
