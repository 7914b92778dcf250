"""The runner of all algorithms, and functions of their states."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core.names import Names, agreed
from jcollab.core.programs import program
from jcollab.core.types import Algorithm, Array, Batches, Init, Metrics, PyTree, State


def params_of(state: State) -> PyTree:
    """The models of a state, stacked ``[n, ...]`` (``[1, ...]`` for one shared model)."""
    if hasattr(state.clients, "params"):
        return state.clients.params
    return jax.tree.map(lambda leaf: leaf[None], state.shared.params)


def model_state_of(state: State) -> PyTree:
    """What the models of :func:`params_of` carry along: ``[n, ...]``, or ``[1, ...]`` of a server.

    Where clients keep their state beside the one model of a server, the models are n all the same:
    that of client i is the server's with the state of the client.
    """
    shared = getattr(state.shared, "model_state", ())
    if hasattr(state.clients, "params") or not jax.tree.leaves(shared):
        return getattr(state.clients, "model_state", ())
    return jax.tree.map(lambda leaf: leaf[None], shared)


def widen(leaf: Array) -> Array:
    """The leaf in float32 or wider, in which averages are taken."""
    return leaf.astype(wide_dtype(leaf))


def wide_dtype(*leaves: Any) -> Any:
    """The type of averages of these arrays: that of the widest, float32 at least."""
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(jnp.float32, *leaves)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"values must be real to be averaged, got {dtype}")
    return dtype


def weighed(weight: Array, tree: PyTree) -> PyTree:
    """``weight * x``, each leaf in the type of its averages."""
    return jax.tree.map(lambda leaf: weight.astype(wide_dtype(leaf)) * widen(leaf), tree)


def own_arrays(init: Init) -> Init:
    """``init`` with checked params, whose state has memory of its own.

    No leaf shares its memory with another one, with an argument, or with an array that the
    algorithm was built of, so that a run may reuse all of it (``run(..., donate=True)``).

    Args:
        init: ``init(params, model_state=()) -> State``.

    Raises:
        TypeError: in ``init``, naming a leaf of params that is not real and floating point.
    """

    def checked(params: PyTree, model_state: PyTree = ()) -> State:
        checks.floats("params", params, "keep what is not trained in model_state")
        leaves, structure = jax.tree.flatten(init(params, model_state))
        for i, leaf in enumerate(leaves):  # one at a time, so that memory for one more is enough
            leaves[i] = jnp.copy(leaf)
        return jax.tree.unflatten(structure, leaves)

    return checked


def replicate(tree: PyTree, n: int) -> PyTree:
    """Copies one value for every client: ``x_i = x`` for i = 1..n.

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
    checks.count("n", n)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), tree)


def with_metrics(algorithm: Algorithm, *metrics: Callable[[State], Any]) -> Algorithm:
    """Adds metrics of the new state to the metrics of each round.

    Args:
        algorithm: any algorithm.
        *metrics: functions ``metric(state) -> array`` (reported under the function's name) or
            ``-> dict`` of arrays.

    Returns:
        An algorithm with the same state.

    Raises:
        TypeError: if a metric is not callable.
        ValueError: when it is used, if two metrics have one name.
    """
    checks.kind(Algorithm, algorithm=algorithm)
    checks.functions(**{f"metrics[{i}]": metric for i, metric in enumerate(metrics)})

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        state, log = algorithm.update(state, batch, key)
        log = dict(log)
        for metric in metrics:
            named = named_metric(metric, state)
            if clash := log.keys() & named.keys():
                raise ValueError(f"metrics must have names of their own, got {sorted(clash)} twice")
            log.update(named)
        return state, log

    cohort = algorithm.cohort
    # metrics look at the state of all clients
    return algorithm._replace(update=update, cohort=cohort and cohort._replace(round=None))


def named_metric(metric: Callable[[State], Any], state: State) -> Metrics:
    """The value of a metric as a dictionary, under the function's name unless it is one already."""
    value = metric(state)
    if isinstance(value, dict):
        return value
    while isinstance(metric, functools.partial):
        metric = metric.func
    return {getattr(metric, "__name__", type(metric).__name__): value}


def round_keys(key: Array, step: Array) -> tuple[Array, Array]:
    """Keys of the batch and the update of one round, from the key of the run."""
    draw_key, update_key = jax.random.split(jax.random.fold_in(key, step))
    return draw_key, update_key


def run(
    algorithm: Algorithm,
    state: State,
    batches: Batches,
    key: Array,
    *,
    num_rounds: int | None = None,
    donate: bool = False,
) -> tuple[State, Metrics]:
    """Runs T rounds as one compiled scan.

    Round t uses ``fold_in(key, state.step)``, so a run in pieces equals one in a single call.

    Args:
        algorithm: the algorithm. It is compiled once for each (algorithm, shapes, T), so build it
            outside of a loop over runs; its programs are dropped with it.
        state: from ``algorithm.init`` or an earlier ``run``.
        batches: the data and how rounds draw from it, see :mod:`jcollab.data.batches`; batches are
            gathered on the device.
        key: random key of the whole run.
        num_rounds: T; None for all rounds that ``batches`` has left after ``state.step``.
        donate: whether the buffers of ``state`` may be reused (the caller's copy is lost).

    Returns:
        The last state and the log: every metric stacked over rounds, ``[T, ...]``.

    Raises:
        TypeError: if an argument is of another kind, or the state that of another algorithm.
        ValueError: if ``num_rounds`` is missing, not positive, or more than ``batches`` has left,
            or names of clients in the data and in the topology differ.
    """
    check_run(algorithm, state, batches, key)
    num_rounds = rounds_of(batches, state, num_rounds)
    sampled = algorithm.cohort is not None

    def build(get: Callable[[], Callable]) -> Callable:
        def scanned(state: State, batches: Batches, key: Array, num_rounds: int) -> tuple:
            return scan(get(), sampled, state, batches, key, num_rounds)

        return jax.jit(scanned, static_argnums=3, donate_argnums=(0,) if donate else ())

    compiled = program(algorithm.update, ("run", sampled, donate), build)
    return compiled(state, batches, key, num_rounds)


def check_run(algorithm: Any, state: Any, batches: Any, key: Any) -> None:
    """TypeError unless they are of these kinds; ValueError if names differ or the state is lost."""
    checks.kind(Algorithm, algorithm=algorithm)
    checks.kind(State, state=state)
    arrays = [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]
    if any(leaf.is_deleted() for leaf in arrays if not checks.traced(leaf)):
        raise ValueError(
            "state must be the last one that a run returned, got one that an earlier run has taken "
            "over (donate=True)"
        )
    check_batches(batches)
    checks.key("key", key)
    client_names(algorithm, batches)


def clients_of(state: State, wanted: type) -> Any:
    """``state.clients``; TypeError unless it is of this type: the state of another algorithm."""
    if not isinstance(state.clients, wanted):
        raise TypeError(
            f"state must be from init of this algorithm, with clients of type {wanted.__name__}, "
            f"got {type(state.clients).__name__}"
        )
    return state.clients


def client_names(algorithm: Any, batches: Any) -> Names | None:
    """Names of the clients of a run; ValueError if data and topology have different ones."""
    while hasattr(batches, "batches"):  # batches that change others
        batches = batches.batches
    names = getattr(getattr(batches, "data", None), "names", None)
    fix = "from_networkx(graph, nodes=data.names) numbers clients as the data do"
    known = names if isinstance(names, Names) else None
    own = getattr(algorithm, "names", None)  # a function of settings has none
    return agreed(known, own, ("the data", "the topology"), fix)


def check_batches(batches: Any) -> None:
    """TypeError unless rounds can draw from it."""
    if not hasattr(batches, "draw") or not hasattr(batches, "local"):
        raise TypeError(
            "batches must be made by jcollab.data (minibatches, epochs, full_batch, stacked for "
            f"arrays [T, n, ...]), got {checks.described(batches)}"
        )


def rounds_of(batches: Batches, state: State, num_rounds: int | None) -> int:
    """The number of rounds to run from here; ValueError if there are not so many."""
    done = 0 if checks.traced(state.step) else int(np.max(state.step))
    length, what = length_of(batches, state)
    if num_rounds is None and length is not None:
        num_rounds = length - done
    if num_rounds is None:
        raise ValueError("num_rounds must be given for batches without an end, got None")
    checks.count("num_rounds", num_rounds)
    if length is not None and done + num_rounds > length:
        raise ValueError(
            f"num_rounds must be at most {length - done}, since {what} {length} rounds and the "
            f"state is at round {done}, got {num_rounds}"
        )
    return num_rounds


def length_of(batches: Any, state: State) -> tuple[int | None, str]:
    """How many rounds there are: of the batches, or arrivals in the state; None for any number."""
    lengths = [(getattr(batches, "length", None), "batches has")]
    lengths.append((getattr(state.shared, "length", None), "the state has arrivals for"))
    known = [pair for pair in lengths if pair[0] is not None]
    return min(known, default=(None, ""))


def scan(
    update: Callable[[State, PyTree, Array], tuple[State, Metrics]],
    sampled: bool,
    state: State,
    batches: Batches,
    key: Array,
    num_rounds: int,
) -> tuple[State, Metrics]:
    """:func:`run`, for use in a program: ``update`` is the algorithm's, ``sampled`` its kind."""
    draw = batches.local if sampled else batches.draw

    def one_round(state: State, _: None) -> tuple[State, Metrics]:
        update_key = round_keys(key, state.step)[1]
        return update(state, draw(key, state.step), update_key)

    return jax.lax.scan(one_round, state, None, length=num_rounds)
