"""The contract that every part of jcollab speaks: state, algorithm, mixer, channel and one runner.

Learners are a leading **client axis** on every array, an exchange is an operation on stacked
pytrees, and a whole collaborative run is one compiled scan.

Shape alphabet, used in every docstring of the library:

    n  clients             K  neighbour slots     m  sampled clients     T  rounds
    H  local steps         b  batch               M  ensemble members    C  classes
    V  vocabulary          d  anything
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import layout

PyTree = Any
Array = jax.Array
Metrics = dict[str, Array]


class State(NamedTuple):
    """Everything that an algorithm carries from round to round.

    Attributes:
        clients: pytree whose every leaf leads with the client axis, ``[n, ...]``.
        shared: pytree of server or global quantities, without a client axis.
        step: int32 ``[]``, number of finished rounds.
    """

    clients: PyTree
    shared: PyTree
    step: Array


class Algorithm(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: ``init(key, params, ...) -> State`` with params stacked over clients, ``[n, ...]``.
        update: ``update(state, batch, key) -> (State, metrics)``, one communication round; batch
            leaves are ``[n, ...]`` and metrics is a dictionary of arrays.
    """

    init: Callable[..., State]
    update: Callable[[State, PyTree, Array], tuple[State, Metrics]]


class Mixer(NamedTuple):
    """How clients combine what they exchange; leaves of ``x`` are ``[n, ...]``.

    Attributes:
        init: ``init(x) -> s``; every leaf of ``s`` leads with the client axis.
        update: ``update(x, s, *, key, step) -> (x, s)``. One that also names ``batch`` gets the
            round's batch, with leaves ``[n, ...]``.
        bytes_sent: ``bytes_sent(x) -> float [n]``, bytes that each client sends in one round (an
            average where rounds differ), from the shapes of ``x`` alone.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    bytes_sent: Callable[[PyTree], Any]


class Wire(NamedTuple):
    """What a channel may look at while messages are in transit.

    An inbox holds the messages of r receivers, of all n clients or of some of them.

    Attributes:
        key: random key of this exchange.
        step: int32 ``[]``, number of finished rounds.
        sent: pytree ``[n, ...]``, the value that each client shares in this round.
        own: pytree ``[r, ...]``, the value of each receiver itself.
        receivers: int32 ``[r]``, the client that each row of the inbox belongs to (n is a server).
        neighbors: int32 ``[r, K]``, sender of each slot (the receiver itself where padded).
        weights: ``[r, K]``, mixing weight of each slot (0 where padded).
    """

    key: Array
    step: Array
    sent: PyTree
    own: PyTree
    receivers: Array
    neighbors: Array
    weights: Array


class Channel(NamedTuple):
    """What happens to messages between sender and receiver.

    A mixer may hand over the inboxes of all clients at once or of a few at a time, so every row is
    treated on its own, and what is random is drawn by the client that the row belongs to.

    Attributes:
        init: ``init(inbox) -> s`` for an inbox with leaves ``[r, K, ...]``; leaves of s lead with
            ``[r, K]`` as well.
        update: ``update(inbox, arrived, s, wire) -> (inbox, arrived, s)``; ``arrived`` is bool
            ``[r, K]`` and False in padded slots.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, Array, PyTree, Wire], tuple[PyTree, Array, PyTree]]


class Clients(NamedTuple):
    """The client part of the state of the library's builders; every leaf is ``[n, ...]``.

    Attributes:
        params: model parameters.
        model_state: what the loss carries along (batch statistics, an EMA teacher, ``()``).
        opt_state: state of the local optimiser.
        mixer: state of the mixer.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    mixer: PyTree


Objective = Callable[[PyTree, PyTree, PyTree, Array], tuple[Array, tuple[PyTree, Metrics]]]


def check_parts(**parts: Any) -> None:
    """TypeError for a part, an optimiser or mixer by name, without ``init`` and ``update``."""
    for name, part in parts.items():
        if not all(callable(getattr(part, field, None)) for field in ("init", "update")):
            kind = type(part).__name__
            raise TypeError(f"{name} must have functions init and update, got {kind}")


def check_counts(**counts: int) -> None:
    """ValueError for a number, by name, that is not at least 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def required_arguments(fn: Callable) -> list[str]:
    """Names of the positional arguments that have no default."""
    return [
        p.name
        for p in inspect.signature(fn).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]


def lift(loss: Callable) -> Objective:
    """``loss(params, model_state, batch, key) -> (value, (model_state, metrics))`` from any form.

    Args:
        loss: a function of four arguments, returned unchanged, or of three,
            ``loss(params, batch, key) -> value`` or ``-> (value, metrics)``, for ONE client.

    Returns:
        The four-argument form.

    Raises:
        TypeError: if ``loss`` is not callable or takes neither three nor four arguments.
    """
    if not callable(loss):
        raise TypeError(f"loss must be a function, got {type(loss).__name__}")
    positional = required_arguments(loss)
    if len(positional) == 4:
        return loss
    if len(positional) != 3:
        raise TypeError(
            "loss must take (params, batch, key) or (params, model_state, batch, key), got "
            f"({', '.join(positional)})"
        )

    def lifted(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        value = loss(params, batch, key)
        value, metrics = value if isinstance(value, tuple) else (value, {})
        return value, (model_state, metrics)

    return lifted


def lift_predict(predict: Callable) -> Callable[[PyTree, PyTree, Any], Array]:
    """``predict(params, model_state, x)`` from that, or from ``predict(params, x)``.

    Raises:
        TypeError: if ``predict`` is not callable or has no such form.
    """
    if not callable(predict):
        raise TypeError(f"predict must be a function, got {type(predict).__name__}")
    named, parameters = required_arguments(predict), inspect.signature(predict).parameters
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())  # flax's apply
    if len(named) == 3 and not variadic:
        return predict
    if len(named) == 2 or variadic:
        return lambda params, model_state, x: predict(params, x)
    raise TypeError(
        f"predict must take (params, x) or (params, model_state, x), got ({', '.join(named)})"
    )


def offer(fn: Callable, *args: Any, **context: Any) -> Any:
    """Calls ``fn(*args)`` with those of the keyword arguments that it names.

    Rules, attacks and mixers thus take what they need of a round's context and ignore the rest.

    Example:
        >>> offer(lambda x, *, step: x + step, 1, step=2, key=None)
        3
    """
    parameters = inspect.signature(fn).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        named = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
        context = {name: value for name, value in context.items() if name in named}
    return fn(*args, **context)


def params_of(state: State) -> PyTree:
    """The models of a state, stacked ``[n, ...]`` (``[1, ...]`` for one shared model)."""
    if hasattr(state.clients, "params"):
        return state.clients.params
    return jax.tree.map(lambda leaf: leaf[None], state.shared.params)


def replicate(tree: PyTree, n: int) -> PyTree:
    """Gives every client the same start: ``x_i = x`` for i = 1..n.

    Args:
        tree: pytree of arrays, ``[...]``.
        n: number of clients, at least 1.

    Returns:
        The pytree with leaves ``[n, ...]``.

    Raises:
        ValueError: if n < 1.

    Example:
        >>> replicate({"w": jnp.zeros(3)}, 4)["w"].shape
        (4, 3)
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), tree)


def members(mask: Any, n: int, name: str = "mask") -> np.ndarray:
    """Numbers of the clients in a mask, int ``[r]``; None is all of them.

    Raises:
        ValueError: if it is no bool ``[n]``, or nobody is in it.
    """
    if mask is None:
        return np.arange(n)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (n,):
        raise ValueError(
            f"{name} must be a mask, bool [n={n}], got {mask.dtype} of shape {mask.shape}"
        )
    if not mask.any():
        raise ValueError(f"{name} must hold at least one client, got none")
    return np.flatnonzero(mask)


def stateless(mix: Callable[..., PyTree]) -> Mixer:
    """A mixer without memory from a plain function ``mix(x, *, key, step) -> x``.

    The bytes that it sends are not known, and reported as NaN.

    Example:
        >>> half = stateless(lambda x, **_: jax.tree.map(lambda leaf: leaf / 2, x))
    """

    def update(x: PyTree, s: PyTree, *, key: Array, step: Array) -> tuple[PyTree, PyTree]:
        return mix(x, key=key, step=step), s

    def bytes_sent(x: PyTree) -> Array:
        return jnp.full(layout.num_clients(x), jnp.nan)

    return Mixer(lambda x: (), update, bytes_sent)


def with_metrics(algorithm: Algorithm, *metrics: Callable[[State], Any]) -> Algorithm:
    """Adds metrics of the new state to what each round reports.

    Args:
        algorithm: any algorithm.
        *metrics: functions ``metric(state) -> array`` (reported under the function's name) or
            ``-> dict`` of arrays.

    Returns:
        An algorithm with the same state.

    Raises:
        TypeError: if a metric is not callable.
    """
    for metric in metrics:
        if not callable(metric):
            raise TypeError(f"metrics must be functions of the state, got {metric!r}")

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        state, log = algorithm.update(state, batch, key)
        log = dict(log)
        for metric in metrics:
            named = named_metric(metric, state)
            if clash := log.keys() & named.keys():
                raise ValueError(f"metrics: {sorted(clash)} is reported already")
            log.update(named)
        return state, log

    return Algorithm(algorithm.init, update)


def named_metric(metric: Callable[[State], Any], state: State) -> Metrics:
    """What a metric says of a state, as a dictionary (under the function's name, if it is none)."""
    value = metric(state)
    if isinstance(value, dict):
        return value
    while isinstance(metric, functools.partial):
        metric = metric.func
    return {getattr(metric, "__name__", type(metric).__name__): value}


Sample = Callable[[PyTree, Array, Array], PyTree]


def run(
    algorithm: Algorithm,
    state: State,
    data: PyTree,
    key: Array,
    *,
    num_rounds: int | None = None,
    sample: Sample | None = None,
    donate: bool = False,
) -> tuple[State, Metrics]:
    """Runs T rounds as one compiled scan.

    Round t uses ``fold_in(key, state.step)``, so a run in pieces equals one in a single call.

    Args:
        algorithm: the algorithm; it is compiled once for each (algorithm, shapes, T, sample).
        state: from ``algorithm.init`` or an earlier ``run``.
        data: batches with leaves ``[T, n, ...]``; with ``sample``, any pytree.
        key: random key.
        num_rounds: T; needed with ``sample``, else read off ``data``.
        sample: ``sample(data, key, step) -> batch``, called inside the scan, so that batches are
            gathered on the device.
        donate: whether the buffers of ``state`` may be reused (the caller's copy is lost).

    Returns:
        The last state and the log: every metric stacked over rounds, ``[T, ...]``.

    Raises:
        ValueError: if ``num_rounds`` is missing, not positive, or not the length of ``data``.
    """
    if sample is None:
        lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
        if len(lengths) != 1 or lengths == {()}:
            raise ValueError(
                f"data must have leaves [T, n, ...] with one T, got leading axes {lengths}"
            )
        ((length,),) = lengths
        if num_rounds not in (None, length):
            raise ValueError(f"num_rounds is {num_rounds}, but data holds {length} rounds")
        num_rounds = length
    if num_rounds is None or num_rounds < 1:
        raise ValueError(f"num_rounds must be at least 1, got {num_rounds}")
    compiled = _run_donating if donate else _run
    return compiled(algorithm, state, data, key, num_rounds, sample)


def _scan(
    algorithm: Algorithm,
    state: State,
    data: PyTree,
    key: Array,
    num_rounds: int,
    sample: Sample | None,
) -> tuple[State, Metrics]:
    def one_round(state: State, batch: PyTree) -> tuple[State, Metrics]:
        sample_key, update_key = jax.random.split(jax.random.fold_in(key, state.step))
        if sample is not None:
            batch = sample(data, sample_key, state.step)
        return algorithm.update(state, batch, update_key)

    return jax.lax.scan(one_round, state, data if sample is None else None, length=num_rounds)


_run = jax.jit(_scan, static_argnums=(0, 4, 5))
_run_donating = jax.jit(_scan, static_argnums=(0, 4, 5), donate_argnums=(1,))
