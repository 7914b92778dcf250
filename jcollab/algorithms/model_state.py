"""Model state (batch statistics, an EMA teacher): whether it is averaged, kept or frozen.

Example:
    >>> loss = jc.stateful(lambda params, count, batch, key: (jnp.sum(params), count + 1, {}))
    >>> algorithm = jc.federated(loss, optax.sgd(0.1), num_sampled=1, model_state="keep")
    >>> state = algorithm.init(jnp.zeros((2, 3)), model_state=jnp.zeros(2))
    >>> batches = jc.data.full_batch(jnp.zeros((2, 1)))
    >>> state, _ = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=1)
    >>> sorted(state.clients.model_state.tolist())  # one of two clients has taken a step
    [0.0, 1.0]
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import optax

from jcollab import checks
from jcollab.core import Loss, Model, PyTree, Stateful, lift

ModelState = Literal["average", "keep", "freeze"]
"""The values of the argument ``model_state`` of builders: how an algorithm treats model state s.

    "average"   s is exchanged and averaged together with the parameters
    "keep"      s_i(t+1) = S(x_i(t), s_i(t), batch_i), local to client i and never exchanged
    "freeze"    s_i(t) = s_i(0); the state that the loss returns is dropped

``S`` is the state that the loss returns. With ``"keep"``, a client that never takes a step keeps
the state that was passed to ``init``.

Source: batch statistics that stay with the clients: Andreux et al. 2020, arXiv 2008.07424; Li et
al. 2021, arXiv 2102.07623 (FedBN, which also keeps the scale and offset of the layer local).
"""


def with_model_state(loss: Loss, model_state: ModelState) -> Loss:
    """Returns the loss; with ``model_state="freeze"``, one that returns the state unchanged.

    Raises:
        ValueError: if ``model_state`` is not one of the three values.
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
    """Returns what clients exchange: params, or with an averaged state a ``Model`` of both.

    Raises:
        TypeError: if the state is averaged and a leaf is not an array of floats.
    """
    # A model without state is exchanged as bare params: a mixer or an attack that selects leaves
    # by path then needs to know only the tree of the parameters.
    if model_state != "average" or not jax.tree.leaves(state):
        return params
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"model_state{jax.tree_util.keystr(path)} must be an array of floats to be "
                f"averaged, got {jax.typeof(leaf).str_short()}; use model_state='keep' or 'freeze'"
            )
    return Model(params, state)


def from_exchange(
    exchanged: PyTree, state: PyTree, model_state: ModelState = "average"
) -> tuple[PyTree, PyTree]:
    """Inverts :func:`to_exchange`: returns params and state, ``state`` if it is not averaged."""
    if model_state != "average" or not jax.tree.leaves(state):
        return exchanged, state
    return exchanged.params, exchanged.model_state


def place(common: PyTree, own: PyTree, model_state: ModelState) -> tuple[PyTree, PyTree]:
    """Splits model state between server and clients: returns the server's and the clients' part.

    Args:
        common: the mean state, without a client axis.
        own: the clients' states, ``[n, ...]``.
        model_state: ``"average"`` stores only ``common``, the others only ``own``.
    """
    # Exactly one of the two has leaves: a round tests this to decide which one it uses.
    if model_state != "average" or not jax.tree.leaves(own):
        return (), own
    return common, ()


def change(before: PyTree, after: PyTree) -> PyTree:
    """Returns ``after - before``, which ``optax.apply_updates(before, ...)`` turns into after."""
    return optax.tree.cast_like(optax.tree.sub(after, before), before)
