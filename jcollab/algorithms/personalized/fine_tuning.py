"""Fine-tuning: every client continues to train the model of a finished run on its own data."""

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
    """Builds local training without communication, ``x_i(t+1) = x_i(t) + u_i(t)``.

    It starts from models, or from the final state of another run: after a run of FedAvg, it is
    FedAvg with fine-tuning.

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer, with a new state.
        model_state: whether local steps change the state of the models (``"keep"``) or it is
            frozen, see :data:`jcollab.algorithms.ModelState`.
        n: number of clients, if the run trained one model for all; None if it trained one model
            for each client.

    Returns:
        An algorithm with ``init(params, model_state=())``. ``params`` are models ``[n, ...]`` or a
        State, of which the models are used, and their model_state unless another one is given.
        Rounds are counted from 0.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if n < 1, model_state is not one of the two values, or at ``init``, if there are
            several models, but not n.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> targets = jc.data.full_batch(jnp.array([[0.0], [8.0]]))
        >>> federated = jc.federated(loss, optax.sgd(0.5), num_clients=2)
        >>> key, state = jax.random.key(0), federated.init(jnp.zeros(1))
        >>> state, _ = jc.run(federated, state, targets, key, num_rounds=20)
        >>> tuning = jc.algorithms.fine_tuning(loss, optax.sgd(0.5), n=2)
        >>> tuned, _ = jc.run(tuning, tuning.init(state), targets, key, num_rounds=1)
        >>> jc.params_of(tuned).round(2).tolist()  # halfway from the common model 4 to the targets
        [[2.0], [6.0]]
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
            raise ValueError(f"n must be {have}, the number of models, got {n}")

        # A single model is copied only if n is given: without n, it is the model of one client.
        def for_each(leaf: jax.Array) -> jax.Array:
            one = n is not None and len(leaf) == 1
            return jnp.broadcast_to(leaf, (n, *leaf.shape[1:])) if one else leaf

        return alone.init(*jax.tree.map(for_each, (params, model_state)))

    return Algorithm(init, alone.update)
