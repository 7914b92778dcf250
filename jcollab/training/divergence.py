"""What is not finite in a run, in which round and with which clients."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.core import Array, Names, State

ADVICE = (
    "; a smaller learning rate or gradient clipping may help, and where it begins in the first "
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
    """The metric, or the clients' models, that are infinite or NaN; None if there are none.

    Args:
        log: metrics of the last rounds, ``[length, ...]`` or ``[S, length, ...]``.
        state: after them.
        done: rounds so far.
        num_rounds: how many there will be.
        replicas: whether everything leads with ``[S]``.
        names: of the clients.
    """
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
    """Clients whose parameters are not all finite, None if they all are.

    Models of different forms, in groups, are not numbered: the list is then empty.
    """
    lift = jax.vmap if replicas and jax.tree.leaves(state.clients) else lambda fn: fn
    params = lift(lambda clients: getattr(clients, "params", ()))(state.clients)
    leaves = [x for x in jax.tree.leaves(params) if jnp.issubdtype(x.dtype, jnp.inexact)]
    if not leaves:
        return None
    axis = 1 if replicas else 0
    if all(isinstance(leaf, np.ndarray) for leaf in leaves):  # too large for the device
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
    """The first of the other parts that must have numbers, and has not.

    In the state of a model an infinity may be a first value, for example of a minimum. Other parts
    of a state (of optimizers, mixers) may have both.
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
    """Whether what follows the client axis is finite, for each leaf."""
    return [jnp.isfinite(leaf).all(tuple(range(axis + 1, leaf.ndim))) for leaf in leaves]


def _named(clients: list[int] | None, names: Names | None) -> str:
    if not clients:
        return ""
    some = ", ".join(str(i) if names is None else f"{i} {names[i]!r}" for i in clients[:10]) + (
        ", ..." if len(clients) > 10 else ""
    )
    return f" (client {some})" if len(clients) == 1 else f" (clients {some})"


def _first_bad(log: dict[str, np.ndarray], replicas: bool) -> tuple[str, int] | None:
    """The metric that is not finite first, and how many rounds before the last one."""
    first = None
    for name, values in log.items():
        values = np.moveaxis(values, 1, 0) if replicas else values
        bad = ~np.isfinite(np.asarray(values, float)).reshape(len(values), -1).all(1)
        before_last = len(values) - 1 - int(bad.argmax())
        if bad.any() and (first is None or before_last > first[1]):
            first = name, before_last
    return first
