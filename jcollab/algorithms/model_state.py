"""What becomes of the state of models (batch statistics, an EMA teacher) in a collaboration."""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import optax

from jcollab import checks
from jcollab.core import Loss, Model, PyTree, Stateful, lift

ModelState = Literal["average", "keep", "freeze"]
"""What an algorithm does with the state s of models, as the argument ``model_state`` of builders.

    "average"   s takes part in the exchange of the models: one s for one model
    "keep"      s_i(t+1) = S(x_i(t), s_i(t), batch_i), which client i neither sends nor receives
    "freeze"    s_i(t) = s_i(0), which the loss is given, and what it returns is dropped

``S`` is the state that the loss returns. With ``"keep"``, a client that never takes a step has the
state that it was given at ``init``.

Source: batch statistics that stay with the clients: Andreux et al. 2020, arXiv 2008.07424; Li et
al. 2021, arXiv 2102.07623 (FedBN, where scale and offset of the layer stay as well).
"""


def with_model_state(loss: Loss, model_state: ModelState) -> Loss:
    """The loss, which returns the state that it is given where that is frozen.

    Raises:
        ValueError: if ``model_state`` is none of the three.
    """
    checks.one_of("model_state", model_state, get_args(ModelState))
    if model_state != "freeze" or not isinstance(loss, Stateful):
        return loss
    objective = lift(loss)

    def frozen(params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array) -> tuple:
        value, (_, metrics) = objective(params, model_state, batch, key)
        return value, model_state, metrics

    return Stateful(frozen)


def to_exchange(params: PyTree, state: PyTree, model_state: ModelState = "average") -> PyTree:
    """What is exchanged: a :class:`jcollab.core.Model` where the state takes part, else params.

    Raises:
        TypeError: if the state takes part and a leaf is no array of floats.
    """
    if model_state != "average" or not jax.tree.leaves(state):
        return params
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"model_state{jax.tree_util.keystr(path)} must be an array of floats to be "
                f"averaged, got {jax.typeof(leaf).str_short()}; builders take model_state='keep' "
                "or 'freeze'"
            )
    return Model(params, state)


def from_exchange(
    exchanged: PyTree, state: PyTree, model_state: ModelState = "average"
) -> tuple[PyTree, PyTree]:
    """Params and state of what :func:`to_exchange` gave; ``state`` where it takes no part."""
    if model_state != "average" or not jax.tree.leaves(state):
        return exchanged, state
    return exchanged.params, exchanged.model_state


def place(common: PyTree, own: PyTree, model_state: ModelState) -> tuple[PyTree, PyTree]:
    """Where there is a server, the part of the state that lies there, and that of the clients."""
    if model_state != "average" or not jax.tree.leaves(own):
        return (), own
    return common, ()


def change(before: PyTree, after: PyTree) -> PyTree:
    """``after - before``, to which :func:`optax.apply_updates` adds ``before``."""
    return optax.tree.cast_like(optax.tree.sub(after, before), before)
