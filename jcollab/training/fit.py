"""Long runs: pieces of the compiled scan, with evaluation, progress, a log and a clean Ctrl-C."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from rich.progress import Progress

from jcollab import layout
from jcollab.core import Algorithm, Array, Batches, Metrics, PyTree, State, rounds_of, run
from jcollab.training import divergence
from jcollab.training.checkpoints import Checkpoints, Saved, form
from jcollab.training.run_log import RunLog, interruptible, opened, progress_bar

EVALUATIONS_BY_DEFAULT = 20
REPORT_MEMORY_FROM = 1 << 30  # bytes of memory from which on the need of a run is printed


class Result(NamedTuple):
    """What a run leaves.

    Attributes:
        state: the last state.
        log: every metric of ``algorithm`` over the rounds of this call, NumPy ``[T, ...]``
            (``[S, T, ...]`` with replicas).
        evaluations: what ``evaluate`` said, stacked over evaluations (``[E, ...]``), with
            ``round``.
        stopped: ``"finished"``, ``"interrupted"`` by Ctrl-C, or ``"diverged"``.
    """

    state: State
    log: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]
    stopped: Literal["finished", "interrupted", "diverged"]


class Diverged(FloatingPointError):
    """A metric or a model became infinite or NaN; ``result`` holds what was measured until then."""

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result


def fit(
    algorithm: Algorithm | Callable[[PyTree], Algorithm],
    state: State,
    batches: Batches,
    key: Array,
    *,
    num_rounds: int,
    evaluate: Callable[[State], Metrics] | None = None,
    eval_every: int | None = None,
    log: RunLog | str | os.PathLike | None = None,
    description: str = "training",
    progress: bool | Progress = True,
    on_divergence: Literal["stop", "continue"] = "stop",
    replicas: bool = False,
    data_axes: Any = None,
    settings: PyTree = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: float = 30.0,
    identity: Mapping[str, Any] | None = None,
) -> Result:
    """Runs until ``state.step`` is ``num_rounds``, in pieces of ``eval_every`` rounds.

    The result does not depend on the pieces: round t always uses ``fold_in(key, t)``. With a
    ``checkpoint`` folder, a run that was killed goes on from where it was saved last, and ends with
    the state, the log and the evaluations that it would have had; called once more, it returns
    them.

    Args:
        algorithm: the algorithm.
        state: from ``algorithm.init``, or a state to go on from.
        batches: as for :func:`jcollab.run`.
        key: random key.
        num_rounds: T, counted from the very first round.
        evaluate: ``evaluate(state) -> dict``, called before the first round and after each piece;
            with replicas it is compiled, for one of them.
        eval_every: rounds between evaluations; None for a twentieth of T.
        log: file (or RunLog) to which each piece adds a JSON line with its last round, the means
            of the metrics over its rounds and the evaluation.
        description: title of the progress bar.
        progress: whether to show a bar, or a rich Progress to add it to.
        on_divergence: what to do when a metric or a model is not finite: stop with
            :class:`Diverged`, or note it as ``diverged`` in the log and go on (for tuning runs).
        replicas: whether ``state`` and ``key`` lead with an axis ``[S]`` of independent runs
            (seeds, learning rates) in one program, see :func:`jcollab.layout.per_replica`.
        data_axes: with replicas, the axes of ``batches.data`` as for ``jax.vmap``; None
            shares it.
        settings: with replicas, hyper-parameters with leaves ``[S]``; ``algorithm`` is then a
            function, ``algorithm(settings of one run) -> Algorithm``.
        checkpoint: folder for the checkpoints of this run alone. A ``log`` that is a file is then
            this run's as well, and is written anew.
        checkpoint_every: seconds between checkpoints, at least 0; they are written after pieces.
        identity: JSON values that must be as they were for a run to go on: the configuration. The
            key, the pieces, and the form of the state are always compared.

    Returns:
        The result; ``stopped`` says whether Ctrl-C ended it early. A second Ctrl-C ends at once.

    Raises:
        TypeError: if ``algorithm`` is none, or no function of the settings where there are some.
        ValueError: if a number is not positive, the state is past ``num_rounds`` already, or the
            checkpoints are of another run (with the field that differs) or all damaged.
        Diverged: if a metric or a model is not finite, with the round and the clients.
        MemoryError: if the compiled run needs more memory than is free, before it starts.
    """
    if num_rounds < 1:
        raise ValueError(f"num_rounds must be at least 1, got {num_rounds}")
    if eval_every is not None and eval_every < 1:
        raise ValueError(f"eval_every must be at least 1, got {eval_every}")
    if on_divergence not in ("stop", "continue"):
        raise ValueError(f"on_divergence must be 'stop' or 'continue', got {on_divergence!r}")
    if not checkpoint_every >= 0:
        raise ValueError(f"checkpoint_every must be at least 0, got {checkpoint_every}")
    if settings is not None and not replicas:
        raise ValueError("settings needs replicas: a single run is built with its own settings")
    if isinstance(algorithm, Algorithm) != (settings is None):
        raise TypeError(
            "algorithm must be an Algorithm, or with settings a function of them, got "
            f"{type(algorithm).__name__}"
        )
    start = int(np.max(state.step))
    if start >= num_rounds:
        raise ValueError(f"state is at round {start}, num_rounds={num_rounds} leaves none to run")
    rounds_of(batches, state, num_rounds - start)
    piece = eval_every or max(1, num_rounds // EVALUATIONS_BY_DEFAULT)
    batches_axes = data_axes
    if data_axes is not None:
        batches_axes = dataclasses.replace(batches, data=data_axes)
    axes = (0, batches_axes, 0, None if settings is None else 0)

    def advance(state: State, batches: Batches, key: Array, length: int) -> tuple[State, Metrics]:
        def go(state: State, batches: Batches, key: Array, own: PyTree) -> tuple[State, Metrics]:
            built = algorithm if isinstance(algorithm, Algorithm) else algorithm(own)
            return run(built, state, batches, key, num_rounds=length)

        return (layout.per_replica(go, axes) if replicas else go)(state, batches, key, settings)

    compiled = jax.jit(advance, static_argnums=3, donate_argnums=0)
    state = jax.tree.map(jnp.copy, state)  # the caller's buffers are not donated
    evaluator = evaluate
    if evaluate and replicas:
        evaluator = _compile(layout.per_replica(evaluate), state)
    logs: list[dict[str, np.ndarray]] = []
    evaluations: list[dict[str, np.ndarray]] = []
    lines: list[str] = []
    axis = 1 if replicas else 0
    store = None
    if checkpoint is not None:
        store = Checkpoints(checkpoint, _identity(key, piece, state, identity))
        if saved := store.newest(state):
            state, lines = saved.state, list(saved.lines)
            logs = [saved.log] if saved.log else []
            evaluations = _rows(saved.evaluations)
            start = int(np.max(state.step))
    # after the checkpoints were found to be of this run: another run's lines stay
    sink = opened(log, None if store is None else lines)

    def note(done: int, measured: dict[str, np.ndarray], fine: bool = True) -> None:
        record = {name: np.mean(values, axis) for name, values in measured.items()}
        if evaluator:
            evaluation = jax.device_get(evaluator(state))
            evaluations.append({"round": np.asarray(done), **evaluation})
            record |= evaluation
        lines.append(sink.write({"round": done, **record} | ({} if fine else {"diverged": True})))

    def result(stopped: Any) -> Result:
        joined = (
            {k: np.concatenate([log[k] for log in logs], axis) for k in logs[0]} if logs else {}
        )
        stacked = jax.tree.map(lambda *rows: np.stack(rows), *evaluations) if evaluations else {}
        return Result(state, joined, stacked, stopped)

    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress_bar(progress))
        interrupted = stack.enter_context(interruptible())
        if store:
            stack.callback(store.close)
        programs: dict[tuple, Any] = {}
        task = bar.add_task(description, total=num_rounds, completed=start)
        done, last = start, time.monotonic()
        if evaluator and start == 0 and not evaluations:
            note(0, {})
        while done < num_rounds and not interrupted.is_set():
            length = min(piece - done % piece, num_rounds - done)
            placed = (length, *(leaf.sharding for leaf in jax.tree.leaves(state)))
            if placed not in programs:
                programs[placed] = compiled.lower(state, batches, key, length).compile()
                need = layout.check_memory(programs[placed], _size((state, batches)))
                if need and need >= REPORT_MEMORY_FROM and len(programs) == 1:
                    gib = need / 2**30
                    bar.console.print(f"{description}: needs about {gib:.1f} GiB of memory")
            state, measured = programs[placed](state, batches, key)
            logs.append(jax.device_get(measured))
            done += length
            wrong = divergence.what_diverged(logs[-1], state, done, length, num_rounds, replicas)
            note(done, logs[-1], not wrong)
            bar.update(task, completed=done)
            if wrong and on_divergence == "stop":
                good = f"; checkpoints until then: {store.folder}" if store else ""
                raise Diverged(f"{wrong}{divergence.ADVICE}{good}", result("diverged"))
            ended = done >= num_rounds or interrupted.is_set()
            # several processes write together, and their clocks differ
            due = time.monotonic() - last >= checkpoint_every or jax.process_count() > 1
            if store and (due or ended):
                whole = result("")
                store.save(done, Saved(state, whole.log, whole.evaluations, lines))
                logs, last = [whole.log], time.monotonic()
    return result("finished" if done >= num_rounds else "interrupted")


def _identity(
    key: Array, piece: int, state: State, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a run is recognised by."""
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return {**(given or {}), "key": np.asarray(data), "eval_every": piece, **form(state)}


def _rows(stacked: dict[str, Any]) -> list[dict[str, Any]]:
    """Evaluations one by one."""
    count = len(stacked["round"]) if stacked else 0
    return [jax.tree.map(lambda leaf: leaf[i], stacked) for i in range(count)]  # noqa: B023


def _compile(fn: Callable[[State], Metrics], state: State) -> Callable[[State], Metrics]:
    """Compiles a function with the arrays that it closes over as arguments, not as constants."""
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(state)

    @jax.jit
    def run(constants: list[Array], state: State) -> Metrics:
        call = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, constants))
        return jax.tree.unflatten(jax.tree.structure(shapes), call(*jax.tree.leaves(state)))

    return lambda state: run(closed.consts, state)


def _size(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree) if hasattr(leaf, "nbytes"))
