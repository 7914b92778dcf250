"""D2 and exact diffusion: decentralized methods that correct for different data of clients."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import local_step
from jcollab.algorithms.model_state import ModelState, from_exchange, to_exchange
from jcollab.core import (
    Algorithm,
    Array,
    Loss,
    Metrics,
    Mixer,
    PyTree,
    Round,
    State,
    clients_of,
    own_arrays,
)
from jcollab.mixing import lazy_mixing

DRAWS = 8  # draws that determine whether a mixer is random
CHECKED_UP_TO = 2000  # clients: eigenvalues take n^3 operations, seconds beyond this size
TOLERANCE = 1e-4  # of entries of W, which a mixer computes in float32
LEAST_EIGENVALUE = -1 / 3


class Corrected(NamedTuple):
    """Client part of the state; every leaf is ``[n, ...]``.

    Attributes:
        params: model parameters.
        model_state: state of the models.
        opt_state: state of the local optimizer.
        mixer: state of the mixer.
        correction: what the method adds to each local update.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    mixer: PyTree
    correction: PyTree


def d2(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mixer: Mixer,
    *,
    model_state: ModelState = "keep",
) -> Algorithm:
    """Builds D2: the change of a model by mixing in one round corrects its next update.

        x(t+1) = W ( x(t) + u(t) + c(t) ),    c(t+1) = x(t+1) - x(t) - u(t),    c(0) = 0

    where ``u`` is the update of the local optimizer, learning rate included. W must be symmetric
    with smallest eigenvalue above -1/3; otherwise the method can diverge, and ``init`` warns. With
    exact gradients and a constant learning rate, all clients reach the optimum of the mean loss,
    although their data differ.

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer.
        mixer: a linear mixer, ``gossip(topology)``.
        model_state: how the state of models is treated, as for :func:`jcollab.decentralized`.

    Returns:
        An algorithm like :func:`jcollab.decentralized`.

    Raises:
        TypeError: if ``loss`` is not callable, or a part has a wrong type.
        ValueError: if client axes differ between params, model_state, batch and mixer, or the
            mixer does not average with a symmetric matrix whose rows sum to 1.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> mixer = jc.gossip(jc.topology.ring(5))
        >>> algorithm = jc.algorithms.d2(loss, optax.sgd(0.5), mixer)
        >>> state = algorithm.init(jnp.zeros((5, 1)))
        >>> targets = jc.data.full_batch(jnp.arange(5.0)[:, None])
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=60)
        >>> state.clients.params.round(3).tolist()  # the mean target, for every client
        [[2.0], [2.0], [2.0], [2.0], [2.0]]

    Source: Tang et al. 2018, arXiv 1803.07068.
    """
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, mixer=mixer)
    how, take = model_state, local_step(loss, optimizer, model_state=model_state)

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        n = layout.num_clients((params, model_state), ("params", "model_state"))
        _check_matrix(mixer, n)
        own = to_exchange(params, model_state, how)
        opt_state, zeros = jax.vmap(optimizer.init)(params), optax.tree.zeros_like(own)
        clients = Corrected(params, model_state, opt_state, mixer.init(own), zeros)
        return State(clients, (), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Corrected)
        local_key, mix_key = jax.random.split(key)
        stepped = take(clients, batch, local_key, state.step)
        own = to_exchange(clients.params, clients.model_state, how)
        # The paper writes x(t+1) = W (2 x(t) - x(t-1) + u(t) - u(t-1)). The correction stores
        # x(t) - x(t-1) - u(t-1), so that one array per client takes the role of two.
        shared = optax.tree.add(own, stepped.value, clients.correction)
        shared = optax.tree.cast_like(shared, own)
        new, mixed = mixer.update(shared, clients.mixer, Round(mix_key, state.step, batch))
        correction = optax.tree.sub(optax.tree.sub(new, own), stepped.value)
        correction = optax.tree.cast_like(correction, new)
        params, model_state = from_exchange(new, stepped.model_state, how)
        clients = Corrected(params, model_state, stepped.opt_state, mixed, correction)
        return State(clients, state.shared, state.step + 1), stepped.metrics

    return Algorithm(own_arrays(init), update, names=mixer.names)


def exact_diffusion(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mixer: Mixer,
    *,
    model_state: ModelState = "keep",
) -> Algorithm:
    """Builds exact diffusion: D2 with ``(W + I) / 2``, which has no negative eigenvalues.

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer.
        mixer: a linear mixer, ``gossip(topology)``.
        model_state: how the state of models is treated, as for :func:`jcollab.decentralized`.

    Returns:
        An algorithm like :func:`d2`.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> mixer = jc.gossip(jc.topology.ring(5))
        >>> algorithm = jc.algorithms.exact_diffusion(loss, optax.sgd(0.5), mixer)
        >>> state = algorithm.init(jnp.zeros((5, 1)))
        >>> targets = jc.data.full_batch(jnp.arange(5.0)[:, None])
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=60)
        >>> state.clients.params.round(3).tolist()
        [[2.0], [2.0], [2.0], [2.0], [2.0]]

    Source: Yuan et al. 2018, arXiv 1702.05122.
    """
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, mixer=mixer)
    return d2(loss, optimizer, lazy_mixing(mixer), model_state=model_state)


def _check_matrix(mixer: Mixer, n: int) -> None:
    """Raises unless the mixer is a symmetric matrix; warns if its smallest eigenvalue is too small.

    A mixer that draws random numbers is not checked.
    """
    if n > CHECKED_UP_TO:
        return

    # A linear mixer applied to the identity matrix returns W. It is evaluated even where init is
    # traced (jitted, or vmapped over seeds), so that the check is not lost there.
    def drawn(key: Array) -> Array:
        with jax.ensure_compile_time_eval():
            identity = jnp.eye(n)
            return mixer.update(identity, mixer.init(identity), Round(key, jnp.int32(0)))[0]

    first, *keys = jax.random.split(jax.random.key(0), DRAWS)
    rows = drawn(first)
    if checks.traced(rows):  # the mixer itself depends on a traced value, such as its weights
        return
    matrix = np.asarray(rows, float)
    if np.abs(matrix - matrix.T).max() > TOLERANCE or np.abs(matrix.sum(1) - 1).max() > TOLERANCE:
        if any((np.asarray(drawn(key), float) != matrix).any() for key in keys):
            return  # links lose messages at random: one draw is asymmetric, their mean need not be
        raise ValueError(
            "mixer must average with a symmetric matrix whose rows sum to 1, such as "
            f"gossip(topology), got one with the row {matrix[0]} for client 0"
        )
    smallest = np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]
    if smallest < LEAST_EIGENVALUE + 1e-6:
        warnings.warn(
            f"D2 needs a mixing matrix with smallest eigenvalue above -1/3, this one has "
            f"{smallest:.4f}; give less weight to neighbors, or use exact_diffusion",
            stacklevel=3,
        )
