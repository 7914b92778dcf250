"""Decentralized learning of large tables with local steps that touch only the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jcollab import checks, layout
from jcollab.algorithms.local_step import gradient_of, mean_over_clients
from jcollab.core import (
    Algorithm,
    Array,
    Clients,
    Loss,
    Metrics,
    Mixer,
    PyTree,
    Round,
    State,
    clients_of,
    lift,
    own_arrays,
)
from jcollab.local import row_sparse
from jcollab.local.row_sparse import RowOptimizer, Rows
from jcollab.mixing import identity

Tables = dict[str, Array]


def sparse_decentralized(
    loss: Loss,
    rows: Callable[[PyTree], Tables],
    optimizer: RowOptimizer,
    mixer: Mixer | None = None,
    *,
    distinct: bool = False,
) -> Algorithm:
    """Builds decentralized learning of tables, with local steps on the rows of each batch only.

        E_i[r] += u_i[r]  for rows r of the batch of client i,    E = mix(E)

    The cost of a local step depends on the number of looked-up rows, not on the size V of the
    tables. A mixer processes whole tables: ``mix_every(H, mixer)`` mixes once in H local steps.

    Args:
        loss: ``loss(vectors, batch, key)`` of ONE client; ``vectors[name]`` contains the rows that
            ``rows`` returns, ``[*ids.shape, ...]``, and 0 for ids outside of the table.
        rows: ``rows(batch) -> {name: ids}`` of one client, int arrays of any shape. A parameter
            that it does not name is passed to the loss, and updated, as a whole.
        optimizer: optimizer of rows, :func:`jcollab.local.row_sparse.adam` or ``sgd``.
        mixer: how clients combine tables; None for clients that learn alone.
        distinct: whether the loss receives each row once, in arbitrary order: ``vectors[name]
            [u, ...]`` with u = min(ids.size, V). The batch must then be a dictionary, to which
            ``batch["places"][name]`` is added: the place of each id among these rows, u for an id
            outside of the table. Rows that no id points to are 0 and are not updated. A loss can
            then compute products with all looked-up rows as one matrix product.

    Returns:
        An algorithm with ``init(params, model_state=())``, params a dictionary of tables
        ``[n, V, ...]`` and model_state (), and ``update(state, batch, key)`` with batch leaves
        ``[n, ...]``.

    Raises:
        TypeError: if a function is not callable, or params (with ``distinct``, the batch) is not a
            dictionary.
        ValueError: if rows names a missing table, client axes differ, or model_state is not ().

    Example:
        >>> def loss(vectors, batch, key):
        ...     return jnp.sum(vectors["words"])  # the gradient of every looked-up row is 1
        >>> algorithm = jc.algorithms.sparse_decentralized(
        ...     loss, lambda batch: {"words": batch}, jc.local.row_sparse.sgd(0.5)
        ... )
        >>> state = algorithm.init({"words": jnp.zeros((1, 4, 1))})  # one client, four rows
        >>> batches = jc.data.full_batch(jnp.array([[1, 3, 3]]))
        >>> state, _ = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=1)
        >>> state.clients.params["words"].ravel().tolist()
        [0.0, -0.5, 0.0, -1.0]

    Source: X2Static of Gupta and Jaggi 2021, arXiv 2106.04302.
    """
    checks.functions(rows=rows)
    # optax transforms have the same fields, but their third argument is params, not the step
    if not isinstance(optimizer, RowOptimizer):
        kind = checks.described(optimizer)
        raise TypeError(f"optimizer must be a RowOptimizer (jcollab.local.row_sparse), got {kind}")
    objective = lift(loss)
    mix = identity() if mixer is None else mixer
    checks.kind(Mixer, mixer=mix)

    def init(params: Tables, model_state: PyTree = ()) -> State:
        if jax.tree.leaves(model_state):
            raise ValueError(f"model_state must be (), got {type(model_state).__name__}")
        if not isinstance(params, dict):
            raise TypeError(f"params must be a dictionary of tables, got {type(params).__name__}")
        layout.num_clients(params, "params")
        # a scalar parameter has no rows: it is treated as a table with one row
        opt_state = {
            name: jax.vmap(lambda leaf: optimizer.init(jnp.atleast_1d(leaf)))(leaf)
            for name, leaf in params.items()
        }
        return State(Clients(params, (), opt_state, mix.init(params)), (), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Clients)
        n = layout.num_clients((clients.params, batch), ("params", "batch"))
        if distinct and not isinstance(batch, dict):
            raise TypeError(f"batch must be a dictionary, got {type(batch).__name__}")
        local_key, mix_key = jax.random.split(key)
        unique, own = _look_up(clients.params, jax.vmap(rows)(batch))

        def local(own: Tables, places: Tables, batch: PyTree, key: Array) -> tuple:
            where = {
                name: places[name].reshape(jnp.shape(ids)) for name, ids in rows(batch).items()
            }

            def of_rows(own: Tables, model_state: Any, batch: PyTree, key: Array) -> tuple:
                if distinct:
                    return objective(own, model_state, {**batch, "places": where}, key)
                looked_up = {name: row_sparse.take(own[name], where[name]) for name in where}
                return objective({**own, **looked_up}, model_state, batch, key)

            # The derivative by ``own``, tables of at most u rows: the gradient is as small, and
            # gradients of rows that were looked up twice are added by the transpose of ``take``.
            grads, _, metrics = gradient_of(of_rows)(own, (), batch, key)
            return grads, metrics

        places = {name: rows_.places for name, rows_ in unique.items()}
        keys = layout.client_keys(local_key, n)
        grads, metrics = layout.per_client(local)(own, places, batch, keys)
        # optimizers of rows count steps from 1, for the bias correction of Adam
        fresh, opt_state = _write_back(optimizer, clients, unique, own, grads, state.step + 1)
        mixed, mixer_state = mix.update(fresh, clients.mixer, Round(mix_key, state.step, batch))
        clients = Clients(mixed, clients.model_state, opt_state, mixer_state)
        return State(clients, state.shared, state.step + 1), mean_over_clients(metrics)

    return Algorithm(own_arrays(init), update, names=mix.names)


def _look_up(params: Tables, asked: Tables) -> tuple[dict[str, Rows], Tables]:
    """Returns the distinct rows that each client looks up, and tables of only these rows.

    Parameters that are not looked up are returned whole.
    """
    if unknown := asked.keys() - params.keys():
        raise ValueError(f"rows must name some of {sorted(params)}, got {sorted(unknown)}")
    unique, own = {}, dict(params)
    for name, ids in asked.items():
        size = params[name].shape[1]  # V: leaves are [n, V, ...]
        unique[name] = jax.vmap(lambda ids, size=size: row_sparse.distinct(ids, size))(ids)
        own[name] = row_sparse.take_each(params[name], unique[name].rows)
    return unique, own


def _write_back(
    optimizer: RowOptimizer,
    clients: Clients,
    unique: dict[str, Rows],
    own: Tables,
    grads: Tables,
    count: Array,
) -> tuple[Tables, PyTree]:
    """Returns tables and optimizer states after a step on the rows that were looked up."""
    step = jax.vmap(optimizer.update, (0, 0, None))
    fresh, opt_state = {}, {}
    for name, leaf in clients.params.items():
        moments = clients.opt_state[name]
        if name not in unique:
            whole = jax.vmap(jnp.atleast_1d)
            updates, opt_state[name] = step(whole(grads[name]), moments, count)
            fresh[name] = leaf + updates.reshape(leaf.shape)
            continue
        # Gather the moments of the rows, step, and write both back. Where a client has fewer than
        # u distinct rows, the index is padded with V: reading it may return any row, since writing
        # to it is dropped.
        index = unique[name].rows
        near = jax.tree.map(
            lambda m: row_sparse.take_each(m, index, filled=False),  # noqa: B023
            moments,
        )
        updates, near = step(grads[name], near, count)
        fresh[name] = row_sparse.put_each(leaf, index, own[name] + updates)
        opt_state[name] = jax.tree.map(
            lambda m, new: row_sparse.put_each(m, index, new),  # noqa: B023
            moments,
            near,
        )
    return fresh, opt_state
