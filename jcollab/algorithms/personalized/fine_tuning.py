"""Fine-tuning: every client goes on alone from where a collaboration ended."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.decentralized.decentralized import decentralized
from jcollab.core import Algorithm, Loss, PyTree, State, params_of
from jcollab.mixing import identity


def fine_tuning(
    loss: Loss, optimizer: optax.GradientTransformation, *, n: int | None = None
) -> Algorithm:
    """Local steps only, ``x_i(t+1) = x_i(t) + u_i(t)``, from models or from what a run has left.

    After a run of FedAvg this is FedAvg with fine-tuning:

        tuning = fine_tuning(loss, optax.sgd(0.1))
        state, log = run(tuning, tuning.init(state), data, key, ...)

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer, whose state begins anew.
        n: number of clients, where the run has left one model for all; None where it has left one
            each.

    Returns:
        An algorithm with ``init(params, model_state=())``; ``params`` are models ``[n, ...]``,
        or a State, whose models are taken, with ``state.clients.model_state`` where it has that.
        Rounds are counted from 0.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if n < 1, or at ``init``, if it is not the number of models and there are
            several.
    """
    checks.parts(optimizer=optimizer)
    checks.counts(n=n)
    alone = decentralized(loss, optimizer, identity())

    def init(params: PyTree | State, model_state: PyTree = ()) -> State:
        if isinstance(params, State):
            if not jax.tree.leaves(model_state):
                model_state = getattr(params.clients, "model_state", ())
            params = params_of(params)
        have = layout.num_clients(params, "params")
        if n is not None and have not in (1, n):
            raise ValueError(f"n is {n}, but there are models of {have} clients")
        if n is not None and have == 1:
            params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape[1:])), params)
        return alone.init(params, model_state)

    return Algorithm(init, alone.update)
