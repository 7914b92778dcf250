"""Fine-tuning: every client goes on alone from where a collaboration ended."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.decentralized.decentralized import decentralized
from jcollab.algorithms.model_state import ModelState
from jcollab.core import Algorithm, Loss, PyTree, State, model_state_of, params_of
from jcollab.mixing import identity


def fine_tuning(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    model_state: ModelState = "keep",
    n: int | None = None,
) -> Algorithm:
    """Local steps only, ``x_i(t+1) = x_i(t) + u_i(t)``, from models or from what a run has left.

    After a run of FedAvg this is FedAvg with fine-tuning:

        tuning = fine_tuning(loss, optax.sgd(0.1))
        state, log = run(tuning, tuning.init(state), data, key, ...)

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer, whose state begins anew.
        model_state: whether the state of the models goes on with the local steps (``"keep"``) or
            is frozen, see :data:`jcollab.algorithms.ModelState`.
        n: number of clients, where the run has left one model for all; None where it has left one
            each.

    Returns:
        An algorithm with ``init(params, model_state=())``; ``params`` are models ``[n, ...]``,
        or a State, whose models are taken, with their model_state unless another is given.
        Rounds are counted from 0.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if n < 1, model_state is none of the two, or at ``init``, if n is not the
            number of models and there are several.
    """
    checks.optimizers(optimizer=optimizer)
    checks.counts(n=n)
    checks.one_of("model_state", model_state, ("keep", "freeze"))
    alone = decentralized(loss, optimizer, identity(), model_state=model_state)

    def init(params: PyTree | State, model_state: PyTree = ()) -> State:
        if isinstance(params, State):
            if not jax.tree.leaves(model_state):
                model_state = model_state_of(params)
            params = params_of(params)
        have = layout.num_clients(params, "params")
        if n is not None and have not in (1, n):
            raise ValueError(f"n is {n}, but there are models of {have} clients")

        def for_each(leaf: jax.Array) -> jax.Array:
            one = n is not None and len(leaf) == 1
            return jnp.broadcast_to(leaf, (n, *leaf.shape[1:])) if one else leaf

        return alone.init(*jax.tree.map(for_each, (params, model_state)))

    return Algorithm(init, alone.update)
