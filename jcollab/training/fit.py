"""Long runs in pieces of the compiled scan, with evaluation, listeners and checkpoints."""

from __future__ import annotations

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import (
    Algorithm,
    Array,
    Batches,
    PyTree,
    State,
    check_batches,
    client_names,
    length_of,
    named_metric,
)
from jcollab.data.streams import Stream
from jcollab.training import checkpoints, divergence, history
from jcollab.training.checkpoints import Checkpoint, Saved, Store
from jcollab.training.history import History
from jcollab.training.host_memory import check_offload, in_host_memory, to_host
from jcollab.training.interrupts import interruptible
from jcollab.training.listeners import Listener, ProgressBar, RunInfo, check_listeners, listening
from jcollab.training.pieces import compile_evaluation, on_devices, starting
from jcollab.training.records import Record, plain
from jcollab.training.replicas import Replicas
from jcollab.training.results import Diverged, NotSaved, Result
from jcollab.training.streams import Feed

EVALUATIONS_BY_DEFAULT = 20


def fit(
    algorithm: Algorithm | Callable[[PyTree], Algorithm],
    state: State,
    batches: Batches | Callable[[State], Batches],
    key: Array,
    *,
    num_rounds: int,
    evaluate: Callable[[State], Any] | None = None,
    eval_every: int | None = None,
    listeners: Sequence[Listener] = (ProgressBar(),),
    checkpoint: Checkpoint | None = None,
    offload: bool = False,
    on_divergence: Literal["stop", "continue"] = "stop",
    replicas: Replicas | None = None,
) -> Result:
    """Runs until ``state.step`` is ``num_rounds``, in pieces of ``eval_every`` rounds.

    The result does not depend on the pieces: round t always uses ``fold_in(key, t)``. With a
    checkpoint, the same call resumes a run that was killed, from the last save, and returns the
    state, the log and the evaluations of an uninterrupted run. If the run is finished, the call
    returns its result; with a larger ``num_rounds``, it continues the run.

    Args:
        algorithm: the algorithm, or a function of settings, see ``replicas``.
        state: from ``algorithm.init``, or a later state.
        batches: as for :func:`jcollab.run`, or batches that an iterator yields, see
            :func:`jcollab.data.stream`, or a function ``batches(state) -> batches``, which is
            called before each piece. Its result must depend on the state only.
        key: random key.
        num_rounds: T, counted from the very first round.
        evaluate: ``evaluate(state)``, which returns an array (reported under the function's name)
            or nested dicts of arrays. It is called before the first round, after each piece, and at
            the end. With replicas it is a traceable function of the state of one replica.
        eval_every: rounds between evaluations; None for T / 20 (or the value of the checkpoint).
        listeners: objects that receive each evaluation and the mean of every metric over the rounds
            since the previous one, see :class:`jcollab.training.Listener`.
        checkpoint: folder in which the run is saved, see :class:`jcollab.training.Checkpoint`.
        offload: whether clients and their data stay in host memory, for algorithms that touch only
            sampled clients. Leaves of ``state.clients`` that are NumPy arrays (``np.memmap`` if
            they exceed memory) are CHANGED IN PLACE; others are copied. Only the rows and examples
            of the sampled clients are on the device.
        on_divergence: reaction to a metric or a model that is not finite: "stop" raises
            :class:`jcollab.training.Diverged`; "continue" adds ``diverged`` to the record and runs
            on (for tuning runs).
        replicas: for independent runs side by side, see :class:`jcollab.training.Replicas`.

    Returns:
        The result. After SIGINT (Ctrl-C) or SIGTERM, the run is saved and returned with ``stopped``
        equal to "interrupted". A second signal ends it at once.

    Raises:
        TypeError: if ``algorithm`` is not an Algorithm, or, with settings, not a function of them;
            if a listener or the checkpoint has the wrong type; or if ``evaluate`` returns
            something other than numbers.
        ValueError: if a number is not positive; the state or the checkpoint is already past
            ``num_rounds``; client names of the data and the topology differ; the folder of the
            checkpoint is a file, or in use by another process; the checkpoints are from another run
            or all damaged; ``offload`` does not fit the algorithm; or a stream ends early or yields
            batches of different shapes.
        NotSaved: if the last checkpoint cannot be written; the error contains the ``result``. For
            earlier checkpoints, there is a warning, and the run continues.
        Diverged: if a metric or a model is not finite, with the round and the clients.
        MemoryError: if the compiled run needs more memory than is free, before it starts.

    Example:
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> result = jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2,
        ...                 evaluate=jc.params_of, listeners=())
        >>> result.evaluations["params_of"].tolist(), result.stopped  # after 0, 1 and 2 rounds
        ([[[0.0]], [[0.5]], [[0.75]]], 'finished')
    """
    checks.key("key", key)
    _check(algorithm, state, batches, num_rounds, eval_every, on_divergence, offload, replicas)
    names = client_names(algorithm, batches)
    check_listeners(listeners)
    if checkpoint is not None:
        checks.kind(Checkpoint, checkpoint=checkpoint)
    if evaluate is not None:
        checks.functions(evaluate=evaluate)
        evaluate = functools.partial(named_metric, evaluate)
    advance: Any
    if isinstance(algorithm, Algorithm) and algorithm.cohort and offload:
        state, advance = to_host(state), in_host_memory(algorithm.cohort, key)
    else:
        # pieces donate their state; without a copy, the caller's arrays would be gone
        state = jax.tree.map(jnp.copy, state)
        advance = on_devices(algorithm, key, replicas)
    if evaluate and replicas:
        evaluate = compile_evaluation(evaluate, state)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(checkpoints.opened(checkpoint, key, eval_every, state))
        axis = 0 if replicas is None else 1
        state, past, every, position = _begin(store, state, axis, eval_every, num_rounds)
        if isinstance(batches, Stream):
            start = starting(algorithm, key, replicas)
            advance = Feed(batches, start, axis, num_rounds, position)
        # from here on only: while a checkpoint is read, Ctrl-C acts as usual
        interrupted = stack.enter_context(interruptible())
        done, saved_at, failed = _rounds(state), time.monotonic(), None
        identity = dict((checkpoint.identity if checkpoint else None) or {})
        run = RunInfo(num_rounds, done, tuple(past.records), identity, names)
        pass_on = stack.enter_context(listening(listeners, run))
        if evaluate and done == 0 and not past.records:
            pass_on(_measure(past, state, 0, {}, evaluate))
        while done < num_rounds and not interrupted.is_set():
            # Pieces end at multiples of ``every``, also if the run resumes between two of them: its
            # evaluations are those of an uninterrupted run.
            length = min(every - done % every, num_rounds - done)
            own = batches if hasattr(batches, "draw") else batches(state)
            names = client_names(algorithm, own)
            state, log = advance(state, own, length)
            done += length
            past.logs.append(log)
            # rounds since the last multiple of ``every``, which may reach before this piece
            recent = past.last((done - 1) % every + 1)
            replicated = past.axis == 1
            wrong = divergence.what_diverged(recent, state, done, num_rounds, replicated, names)
            # Listeners get the record before the error. The state is not saved: the newest
            # checkpoint stays one from which a user can continue with other settings.
            pass_on(_measure(past, state, done, recent, evaluate, bool(wrong)))
            if wrong and on_divergence == "stop":
                good = f"; checkpoints until then: {store.folder}" if store else ""
                result = Result(state, past.log(), past.stacked(), "diverged")
                raise Diverged(f"{wrong}{divergence.ADVICE}{good}", result)
            if store and checkpoint:
                # Several processes must save in the same rounds, but their clocks differ: they save
                # after each piece.
                due = time.monotonic() - saved_at >= checkpoint.every_seconds
                ended = done >= num_rounds or interrupted.is_set()
                if due or ended or jax.process_count() > 1:
                    position = getattr(advance, "position", None)
                    failed = _save(store, done, state, past, position, last=ended)
                    saved_at = time.monotonic()
    stopped: Any = "finished" if done >= num_rounds else "interrupted"
    result = Result(state, past.log(), past.stacked(), stopped)
    if failed:
        raise NotSaved(failed, result)
    return result


def _save(
    store: Store, done: int, state: State, past: History, position: str | None, last: bool
) -> str | None:
    """Saves a run. If that fails (for example on a full disk), warns and returns the reason."""
    try:
        store.save(done, Saved(state, past.log(), past.stacked(), past.records, position))
    except Exception as error:  # what orbax raises differs by file system
        first = (str(error).splitlines() or [""])[0]
        failed = (
            f"round {done} could not be saved in checkpoint {store.folder} "
            f"({type(error).__name__}: {first})"
        )
        if not last:
            warnings.warn(f"{failed}; the run continues", stacklevel=3)
        return failed
    return None


def _check(
    algorithm: Any,
    state: State,
    batches: Any,
    num_rounds: int,
    eval_every: int | None,
    on_divergence: str,
    offload: bool,
    replicas: Replicas | None,
) -> None:
    checks.kind(State, state=state)
    checks.count("num_rounds", num_rounds)
    checks.counts(eval_every=eval_every)
    checks.one_of("on_divergence", on_divergence, ("stop", "continue"))
    if replicas is not None:
        checks.kind(Replicas, replicas=replicas)
    settings = None if replicas is None else replicas.settings
    if isinstance(algorithm, Algorithm) != (settings is None) or (
        settings is not None and not callable(algorithm)
    ):
        raise TypeError(
            "algorithm must be an Algorithm, or with settings a function of them, got "
            f"{type(algorithm).__name__}"
        )
    if not callable(batches):
        check_batches(batches)
    length, what = length_of(batches, state)
    if length is not None and num_rounds > length:
        raise ValueError(
            f"num_rounds must be at most {length}, since {what} {length} rounds, got {num_rounds}"
        )
    if _rounds(state) >= num_rounds:
        raise ValueError(
            f"num_rounds must be above {_rounds(state)}, the rounds of the state, got {num_rounds}"
        )
    if offload:
        if replicas is not None:
            raise ValueError("offload must be False with replicas, got True")
        if isinstance(batches, Stream):
            raise ValueError("offload must be False with a stream, got True")
        check_offload(algorithm)


def _begin(
    store: Store | None,
    state: State,
    axis: int,
    eval_every: int | None,
    num_rounds: int,
) -> tuple[State, History, int, str | None]:
    """Returns the state and the history to continue from, the rounds of a piece, and a position."""
    every = eval_every or max(1, num_rounds // EVALUATIONS_BY_DEFAULT)
    saved = store.newest(state) if store else None
    if store is None or saved is None:
        if store:
            store.identity["eval_every"] = every
        return state, History([], [], [], axis), every, None
    every, done = store.identity["eval_every"], _rounds(saved.state)
    if done > num_rounds:
        raise ValueError(
            f"num_rounds must be at least {done}, the rounds of checkpoint {store.folder}, got "
            f"{num_rounds}"
        )
    past = history.of_checkpoint(saved, axis, done, every, num_rounds)
    return saved.state, past, every, saved.position


def _measure(
    past: History,
    state: State,
    done: int,
    log: dict[str, np.ndarray],
    evaluate: Callable[[State], Any] | None,
    diverged: bool = False,
) -> Record:
    """Evaluates a state, adds the record to the history, and returns it."""
    record: Record = {"round": done}
    record |= {name: np.mean(values, past.axis) for name, values in log.items()}
    if evaluate:
        evaluation = checkpoints.nested_arrays(jax.device_get(evaluate(state)))
        if "round" in evaluation:
            raise ValueError("evaluate must not return 'round', which is the number of the round")
        evaluation = {"round": np.asarray(done), **evaluation}
        # evaluations are stacked at the end, so all of them must have the form of the first
        first = (past.evaluations or [evaluation])[0]
        if changed := checkpoints.difference(checkpoints.form(first), checkpoints.form(evaluation)):
            raise ValueError(f"evaluate must return the same names and shapes, got {changed}")
        past.evaluations.append(evaluation)
        record |= evaluation
    record = plain(record | ({"diverged": True} if diverged else {}))
    past.records.append(record)
    return record


def _rounds(state: State) -> int:
    return int(np.max(state.step))
