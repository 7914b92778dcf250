"""Detection of divergence: which metric or model is not finite, in which round and client."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.core import Array, Names, State

ADVICE = (
    "; a smaller learning rate or gradient clipping may help, and if it begins in the first "
    "round, NaN and labels outside of 0..C-1 in the data are likely causes"
)


def what_diverged(
    log: dict[str, np.ndarray],
    state: State,
    done: int,
    num_rounds: int,
    replicas: bool,
    names: Names | None = None,
) -> str | None:
    """Describes the metric or the models that are infinite or NaN, None if all are finite.

    Args:
        log: metrics of the last rounds, ``[length, ...]`` or ``[S, length, ...]``.
        state: the state after these rounds.
        done: number of finished rounds.
        num_rounds: number of rounds of the whole run.
        replicas: whether state and metrics lead with ``[S]``.
        names: client names.
    """
    # Metrics come first: they show the round, while a model shows only the piece of rounds.
    clients = clients_with_bad_models(state, replicas)
    if bad := _first_bad(log, replicas):
        name, before_last = bad
        at = done - before_last
        return f"{name} is not finite in round {at} of {num_rounds}{_named(clients, names)}"
    what = "models" if clients is not None else _other_bad_part(state)
    if what:
        return f"{what} are not finite after round {done} of {num_rounds}{_named(clients, names)}"
    return None


def clients_with_bad_models(state: State, replicas: bool = False) -> list[int] | None:
    """Returns the clients with parameters that are not finite, None if all are finite.

    The list is empty if groups of clients have models of different forms, since leaves then lead
    with the clients of a group, not with all clients.
    """
    lift = jax.vmap if replicas and jax.tree.leaves(state.clients) else lambda fn: fn
    params = lift(lambda clients: getattr(clients, "params", ()))(state.clients)
    leaves = [x for x in jax.tree.leaves(params) if jnp.issubdtype(x.dtype, jnp.inexact)]
    if not leaves:
        return None
    axis = 1 if replicas else 0
    # Arrays in host memory may exceed the device, and memory too (np.memmap): row by row.
    if all(isinstance(leaf, np.ndarray) for leaf in leaves):
        flags = [np.array([np.isfinite(row).all() for row in leaf]) for leaf in leaves]
    else:
        flags = [np.asarray(flag) for flag in _finite(leaves, axis)]
    if all(flag.all() for flag in flags):
        return None
    if len({flag.shape for flag in flags}) > 1:
        return []
    fine = np.all(flags, axis=0)
    return np.flatnonzero(~(fine.all(0) if replicas else fine)).tolist()


def _other_bad_part(state: State) -> str | None:
    """Returns the name of the first other part of a state that is not finite, or None.

    In a model_state only NaN counts: infinity may be an initial value, for example of a running
    minimum. States of optimizers and mixers are not checked, since they may contain both.
    """
    parts = {
        "parameters of the server's model": (getattr(state.shared, "params", ()), False),
        "values of the server's model_state": (getattr(state.shared, "model_state", ()), True),
        "values of the clients' model_state": (getattr(state.clients, "model_state", ()), True),
    }
    for name, (tree, infinite) in parts.items():
        for leaf in jax.tree.leaves(tree):
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                module = np if isinstance(leaf, np.ndarray) else jnp
                good = ~module.isnan(leaf) if infinite else module.isfinite(leaf)
                if not good.all():
                    return name
    return None


@functools.partial(jax.jit, static_argnums=1)
def _finite(leaves: list[Array], axis: int) -> list[Array]:
    """Returns for each leaf and client whether all of the client's values are finite."""
    return [jnp.isfinite(leaf).all(tuple(range(axis + 1, leaf.ndim))) for leaf in leaves]


def _named(clients: list[int] | None, names: Names | None) -> str:
    if not clients:
        return ""
    some = ", ".join(str(i) if names is None else f"{i} {names[i]!r}" for i in clients[:10]) + (
        ", ..." if len(clients) > 10 else ""
    )
    return f" (client {some})" if len(clients) == 1 else f" (clients {some})"


def _first_bad(log: dict[str, np.ndarray], replicas: bool) -> tuple[str, int] | None:
    """Returns the metric that is not finite first, and its distance in rounds from the last one."""
    first = None
    for name, values in log.items():
        values = np.moveaxis(values, 1, 0) if replicas else values
        bad = ~np.isfinite(np.asarray(values, float)).reshape(len(values), -1).all(1)
        before_last = len(values) - 1 - int(bad.argmax())
        if bad.any() and (first is None or before_last > first[1]):
            first = name, before_last
    return first
