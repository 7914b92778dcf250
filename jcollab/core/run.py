"""The runner of all algorithms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jcollab import checks, layout
from jcollab.core.names import Names, agreed
from jcollab.core.programs import program
from jcollab.core.types import Algorithm, Array, Batches, Metrics, PyTree, State


def with_metrics(algorithm: Algorithm, *metrics: Callable[[State], Any]) -> Algorithm:
    """Adds metrics of the new state to the metrics of each round.

    Args:
        algorithm: any algorithm.
        *metrics: functions ``metric(state) -> array``, reported under the function's name, or
            ``metric(state) -> dict`` of arrays.

    Returns:
        An algorithm with the same state.

    Raises:
        TypeError: if a metric is not callable.
        ValueError: when it is used, if two metrics have the same name.

    Example:
        >>> mixer = jc.gossip(jc.topology.ring(4))
        >>> algorithm = jc.decentralized(lambda p, b, k: jnp.sum(p * b), optax.sgd(0.1), mixer)
        >>> measured = jc.with_metrics(algorithm, jc.metrics.consensus_distance)
        >>> state = measured.init(jnp.zeros(4))
        >>> _, metrics = measured.update(state, jnp.arange(4.0), jax.random.key(0))
        >>> sorted(metrics)
        ['consensus_distance', 'loss']
    """
    checks.kind(Algorithm, algorithm=algorithm)
    checks.functions(**{f"metrics[{i}]": metric for i, metric in enumerate(metrics)})

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        state, log = algorithm.update(state, batch, key)
        log = dict(log)
        for metric in metrics:
            named = named_metric(metric, state)
            if clash := log.keys() & named.keys():
                raise ValueError(f"metrics must have different names, got {sorted(clash)} twice")
            log.update(named)
        return state, log

    cohort = algorithm.cohort
    # Metrics need the state of all clients, so a round that has only the sampled rows cannot
    # compute them: such an algorithm cannot keep its clients in host memory.
    return algorithm._replace(update=update, cohort=cohort and cohort._replace(round=None))


def named_metric(metric: Callable[[State], Any], state: State) -> Metrics:
    """Evaluates a metric and returns a dictionary, with the function's name if it returns an array.

    Example:
        >>> def total(state):
        ...     return state.clients.sum()
        >>> named_metric(total, State(jnp.ones(3), (), jnp.int32(0)))
        {'total': Array(3., dtype=float32)}
    """
    value = metric(state)
    if isinstance(value, dict):
        return value
    while isinstance(metric, functools.partial):
        metric = metric.func
    return {getattr(metric, "__name__", type(metric).__name__): value}


def round_keys(key: Array, step: Array) -> tuple[Array, Array]:
    """Returns the keys of the batch and of the update of one round, from the key of the run.

    Example:
        >>> draw_key, update_key = round_keys(jax.random.key(0), 5)
        >>> bool(draw_key == update_key)
        False
    """
    # The keys depend on the number of the round alone, not on rounds before it. So a run in pieces,
    # or one that continues from a checkpoint, equals a run in a single call.
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
        algorithm: the algorithm. A program is compiled for each (algorithm, shapes, T), so build
            the algorithm outside of a loop over runs. Its programs are freed with it.
        state: from ``algorithm.init`` or an earlier ``run``.
        batches: the data and how rounds draw from it, see :mod:`jcollab.data.batches`. Batches are
            gathered on the device.
        key: random key of the whole run.
        num_rounds: T; None for all rounds that ``batches`` has left after ``state.step``.
        donate: whether the run reuses the memory of ``state``. The given state can then no longer
            be used.

    Returns:
        The last state, and the log: every metric stacked over rounds, ``[T, ...]``.

    Raises:
        TypeError: if an argument has the wrong type, or the state is from another algorithm.
        ValueError: if ``num_rounds`` is missing, not positive, or more than ``batches`` has left,
            or if the client names of the data and the topology differ.

    Example:
        >>> loss = lambda params, batch, key: 0.5 * jnp.sum((params - batch["x"]) ** 2)
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.5), jc.all_reduce())
        >>> batches = jc.data.stacked({"x": jnp.ones((3, 2, 1))})  # [T, n, d]
        >>> state, log = jc.run(algorithm, algorithm.init(jnp.zeros((2, 1))), batches,
        ...                     jax.random.key(0))
        >>> state.clients.params.tolist(), log["loss"].shape  # 1 - 0.5^3
        ([[0.875], [0.875]], (3,))
    """
    check_run(algorithm, state, batches, key)
    num_rounds = rounds_of(batches, state, num_rounds)
    sampled = algorithm.cohort is not None

    # A donated state is updated in place: its memory is that of the result. Otherwise two states
    # exist at once, the given one and the carry of the scan.
    def build(get: Callable[[], Callable]) -> Callable:
        def scanned(state: State, batches: Batches, key: Array, num_rounds: int) -> tuple:
            return scan(get(), sampled, state, batches, key, num_rounds)

        return jax.jit(
            scanned,
            static_argnums=3,
            donate_argnums=(0,) if donate else (),
            compiler_options=layout.compiler_options(),
        )

    compiled = program(algorithm.update, ("run", sampled, donate), build)
    return compiled(state, batches, key, num_rounds)


def check_run(algorithm: Any, state: Any, batches: Any, key: Any) -> None:
    """Checks the arguments of a run.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if client names differ, or the buffers of the state were donated.

    Example:
        >>> check_run(jc.gossip(jc.topology.ring(3)), None, None, None)
        Traceback (most recent call last):
        TypeError: algorithm must be an Algorithm, got Mixer
    """
    checks.kind(Algorithm, algorithm=algorithm)
    checks.kind(State, state=state)
    arrays = [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]
    if any(leaf.is_deleted() for leaf in arrays if not checks.traced(leaf)):
        raise ValueError(
            "state must be the last one that a run returned, got one that an earlier run has "
            "consumed (donate=True)"
        )
    check_batches(batches)
    checks.key("key", key)
    client_names(algorithm, batches)


def clients_of(state: State, wanted: type) -> Any:
    """Returns ``state.clients``; raises TypeError if it is from another kind of algorithm."""
    if not isinstance(state.clients, wanted):
        raise TypeError(
            f"state must be from init of this algorithm, with clients of type {wanted.__name__}, "
            f"got {type(state.clients).__name__}"
        )
    return state.clients


def client_names(algorithm: Any, batches: Any) -> Names | None:
    """Returns the client names of a run; raises ValueError if data and topology disagree."""
    while hasattr(batches, "batches"):  # a wrapper: the data is inside
        batches = batches.batches
    names = getattr(getattr(batches, "data", None), "names", None)
    fix = "from_networkx(graph, nodes=data.names) numbers clients as the data do"
    known = names if isinstance(names, Names) else None
    own = getattr(algorithm, "names", None)  # a function of settings has no names
    return agreed(known, own, ("the data", "the topology"), fix)


def check_batches(batches: Any) -> None:
    """Raises TypeError unless the object has the methods of :class:`Batches`."""
    if not hasattr(batches, "draw") or not hasattr(batches, "local"):
        raise TypeError(
            "batches must be made by jcollab.data (minibatches, epochs, full_batch, stacked for "
            f"arrays [T, n, ...], stream for iterators), got {checks.described(batches)}"
        )


def rounds_of(batches: Batches, state: State, num_rounds: int | None) -> int:
    """Returns the number of rounds to run; raises ValueError if fewer are left.

    Example:
        >>> state = State((), (), jnp.int32(1))
        >>> rounds_of(jc.data.stacked(jnp.zeros((3, 2, 1))), state, None)
        2
    """
    # inside of a trace the step is unknown; then only the total length is checked
    done = 0 if checks.traced(state.step) else int(np.asarray(state.step).max())
    length, what = length_of(batches, state)
    if num_rounds is None and length is not None:
        num_rounds = length - done
    if num_rounds is None:
        raise ValueError("num_rounds must be given for endless batches, got None")
    checks.count("num_rounds", num_rounds)
    if length is not None and done + num_rounds > length:
        raise ValueError(
            f"num_rounds must be at most {length - done}, since {what} {length} rounds and the "
            f"state is at round {done}, got {num_rounds}"
        )
    return num_rounds


def length_of(batches: Any, state: State) -> tuple[int | None, str]:
    """Returns the total number of rounds, None if unlimited, and what limits it.

    Batches may contain a fixed number of rounds, and so may the state (arrivals of asynchronous
    clients).

    Example:
        >>> length_of(jc.data.stacked(jnp.zeros((3, 2, 1))), State((), (), jnp.int32(0)))
        (3, 'batches has')
    """
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
    """Runs rounds inside of a compiled program, without the checks of :func:`run`.

    Args:
        update: ``algorithm.update``.
        sampled: whether the algorithm has a cohort and gathers the batches of sampled clients.
        state: as for :func:`run`.
        batches: as for :func:`run`.
        key: as for :func:`run`.
        num_rounds: T.
    """
    draw = batches.local if sampled else batches.draw

    # The batch is drawn inside of the scan: stacked over rounds, it would take T times the memory.
    def one_round(state: State, _: None) -> tuple[State, Metrics]:
        update_key = round_keys(key, state.step)[1]
        return update(state, draw(key, state.step), update_key)

    return jax.lax.scan(one_round, state, None, length=num_rounds)
