"""Decentralized learning of large tables: local steps that touch only the rows of a batch."""

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
    """Every client updates the rows that its batch looks up; then the mixer combines tables.

        E_i[r] += u_i[r]  for rows r of the batch of client i,    E = mix(E)

    A local step costs what the looked-up rows do, whatever the size V of the tables. A mixer looks
    at whole tables: ``mix_every(H, mixer)`` lets H local steps lie between.

    Args:
        loss: ``loss(vectors, batch, key)`` of ONE client; ``vectors[name]`` has the rows that
            ``rows`` asks for, ``[*ids.shape, ...]``, and 0 for ids outside of the table.
        rows: ``rows(batch) -> {name: ids}`` of one client, int arrays of any shape. A parameter
            that it does not name is handed over, and updated, as a whole.
        optimizer: of rows, :func:`jcollab.local.row_sparse.adam` or ``sgd``.
        mixer: how tables are combined; None for a client that learns alone.
        distinct: whether the loss gets rows once each, in no order, ``vectors[name] [u, ...]``
            with u = min(ids.size, V), and in the batch, a dictionary, ``batch["places"][name]``:
            where in these each id is, u for one outside of the table. Rows that no id points to
            are 0, and are not updated. What is looked up in a product of all rows with something
            is then one product of matrices.

    Returns:
        An algorithm with ``init(params, model_state=())``, params a dictionary of tables
        ``[n, V, ...]`` and model_state (), and ``update(state, batch, key)`` with batch leaves
        ``[n, ...]``.

    Raises:
        TypeError: if a function is not callable, or params (with ``distinct``, the batch) is no
            dictionary.
        ValueError: if rows names a table that is missing, client axes differ, or there is a
            model_state.

    Example:
        >>> from jcollab import objectives
        >>> from jcollab.local import row_sparse
        >>> loss, rows = objectives.x2static_loss(), objectives.x2static_rows
        >>> algorithm = sparse_decentralized(loss, rows, row_sparse.adam(1e-3))
        >>> state = algorithm.init({"words": jnp.zeros((1, 100, 4))})

    Source: of X2Static, Gupta and Jaggi 2021, arXiv 2106.04302.
    """
    checks.functions(rows=rows)
    if not isinstance(optimizer, RowOptimizer):  # one of optax would take the step for parameters
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
        # a number per client has no rows: its state is that of a table with one row
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

            grads, _, metrics = gradient_of(of_rows)(own, (), batch, key)
            return grads, metrics

        places = {name: rows_.places for name, rows_ in unique.items()}
        keys = layout.client_keys(local_key, n)
        grads, metrics = layout.per_client(local)(own, places, batch, keys)
        fresh, opt_state = _write_back(optimizer, clients, unique, own, grads, state.step + 1)
        mixed, mixer_state = mix.update(fresh, clients.mixer, Round(mix_key, state.step, batch))
        clients = Clients(mixed, clients.model_state, opt_state, mixer_state)
        return State(clients, state.shared, state.step + 1), mean_over_clients(metrics)

    return Algorithm(own_arrays(init), update, names=mix.names)


def _look_up(params: Tables, asked: Tables) -> tuple[dict[str, Rows], Tables]:
    """The distinct rows that each client asks for, and tables of these (or whole parameters)."""
    if unknown := asked.keys() - params.keys():
        raise ValueError(f"rows must name some of {sorted(params)}, got {sorted(unknown)}")
    unique, own = {}, dict(params)
    for name, ids in asked.items():
        size = params[name].shape[1]
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
    """Tables and states of the optimizer after its step on the rows that were looked up."""
    step = jax.vmap(optimizer.update, (0, 0, None))
    fresh, opt_state = {}, {}
    for name, leaf in clients.params.items():
        moments = clients.opt_state[name]
        if name not in unique:
            whole = jax.vmap(jnp.atleast_1d)
            updates, opt_state[name] = step(whole(grads[name]), moments, count)
            fresh[name] = leaf + updates.reshape(leaf.shape)
            continue
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
