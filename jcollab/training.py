"""Long runs: pieces of the compiled scan, with evaluation, progress, a log and a clean Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jcollab import layout
from jcollab.core import Algorithm, Array, Metrics, PyTree, Sample, State, run

EVALUATIONS_BY_DEFAULT = 20
SAID_FROM = 1 << 30  # bytes of memory from which on the need of a run is printed


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
    """A metric became infinite or NaN; ``result`` holds what was measured until then."""

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result


def fit(
    algorithm: Algorithm | Callable[[PyTree], Algorithm],
    state: State,
    data: PyTree,
    key: Array,
    *,
    num_rounds: int,
    sample: Sample | None = None,
    evaluate: Callable[[State], Metrics] | None = None,
    eval_every: int | None = None,
    log: RunLog | str | os.PathLike | None = None,
    description: str = "training",
    progress: bool | Progress = True,
    on_divergence: Literal["stop", "continue"] = "stop",
    replicas: bool = False,
    data_axes: Any = None,
    settings: PyTree = None,
) -> Result:
    """Runs until ``state.step`` is ``num_rounds``, in pieces of ``eval_every`` rounds.

    The result does not depend on the pieces: round t always uses ``fold_in(key, t)``.

    Args:
        algorithm: the algorithm.
        state: from ``algorithm.init``, or a state to go on from.
        data: as for :func:`jcollab.run`.
        key: random key.
        num_rounds: T, counted from the very first round.
        sample: as for :func:`jcollab.run`.
        evaluate: ``evaluate(state) -> dict``, called before the first round and after each piece;
            with replicas it is compiled, for one of them.
        eval_every: rounds between evaluations; None for a twentieth of T.
        log: file (or RunLog) to which each piece adds a JSON line with its last round, the means
            of the metrics over its rounds and the evaluation.
        description: title of the progress bar.
        progress: whether to show a bar, or a rich Progress to add it to.
        on_divergence: what to do when a metric is not finite: stop with :class:`Diverged`, or go
            on (for tuning runs).
        replicas: whether ``state`` and ``key`` lead with an axis ``[S]`` of independent runs
            (seeds, learning rates) in one program, see :func:`jcollab.layout.per_replica`.
        data_axes: with replicas, the axes of ``data`` as for ``jax.vmap``; None shares it.
        settings: with replicas, hyper-parameters with leaves ``[S]``; ``algorithm`` is then a
            function, ``algorithm(settings of one run) -> Algorithm``.

    Returns:
        The result; ``stopped`` says whether Ctrl-C ended it early. A second Ctrl-C ends at once.

    Raises:
        ValueError: if a number is not positive or the state is past ``num_rounds`` already.
        Diverged: if a metric is not finite, with the round.
        MemoryError: if the compiled run needs more memory than is free, before it starts.
    """
    if num_rounds < 1:
        raise ValueError(f"num_rounds must be at least 1, got {num_rounds}")
    if eval_every is not None and eval_every < 1:
        raise ValueError(f"eval_every must be at least 1, got {eval_every}")
    if on_divergence not in ("stop", "continue"):
        raise ValueError(f"on_divergence must be 'stop' or 'continue', got {on_divergence!r}")
    if data_axes is not None and sample is None:
        raise ValueError("data_axes needs sample: stacked batches are shared by all replicas")
    if settings is not None and not replicas:
        raise ValueError("settings needs replicas: a single run is built with its own settings")
    start = int(np.max(state.step))
    if start >= num_rounds:
        raise ValueError(f"state is at round {start}, num_rounds={num_rounds} leaves none to run")
    if sample is None and (held := min(len(x) for x in jax.tree.leaves(data))) < num_rounds:
        raise ValueError(f"num_rounds={num_rounds} rounds are asked for, but data holds {held}")
    piece = eval_every or max(1, num_rounds // EVALUATIONS_BY_DEFAULT)
    axes = (0, data_axes, 0, None if settings is None else 0)

    def advance(state: State, data: PyTree, key: Array, length: int) -> tuple[State, Metrics]:
        def go(state: State, data: PyTree, key: Array, own: PyTree) -> tuple[State, Metrics]:
            built = algorithm if settings is None else algorithm(own)
            return run(built, state, data, key, num_rounds=length, sample=sample)

        return (layout.per_replica(go, axes) if replicas else go)(state, data, key, settings)

    compiled = jax.jit(advance, static_argnums=3, donate_argnums=0)
    state = jax.tree.map(jnp.copy, state)  # the caller's buffers are not donated
    judge = evaluate
    if evaluate and replicas:
        judge = _compile(layout.per_replica(evaluate), state)
    logs: list[dict[str, np.ndarray]] = []
    evaluations: list[dict[str, np.ndarray]] = []
    sink = log if isinstance(log, RunLog) else RunLog(log)
    axis = 1 if replicas else 0

    def note(done: int, measured: dict[str, np.ndarray]) -> None:
        record = {name: np.mean(values, axis) for name, values in measured.items()}
        if judge:
            judged = jax.device_get(judge(state))
            evaluations.append({"round": np.asarray(done), **judged})
            record |= judged
        sink.write({"round": done, **record})

    def result(stopped: Any) -> Result:
        joined = (
            {k: np.concatenate([log[k] for log in logs], axis) for k in logs[0]} if logs else {}
        )
        stacked = jax.tree.map(lambda *rows: np.stack(rows), *evaluations) if evaluations else {}
        return Result(state, joined, stacked, stopped)

    with progress_bar(progress) as bar, interruptible() as interrupted:
        programs: dict[tuple, Any] = {}
        task = bar.add_task(description, total=num_rounds, completed=start)
        done = start
        if judge and start == 0:
            note(0, {})
        while done < num_rounds and not interrupted.is_set():
            length = min(piece - done % piece, num_rounds - done)
            rounds = data if sample else jax.tree.map(lambda x: x[done : done + length], data)  # noqa: B023
            form = (length, *(leaf.sharding for leaf in jax.tree.leaves(state)))
            if form not in programs:
                programs[form] = compiled.lower(state, rounds, key, length).compile()
                need = layout.check_memory(programs[form], _size((state, rounds)))
                if need and need >= SAID_FROM and len(programs) == 1:
                    gib = need / 2**30
                    bar.console.print(f"{description}: needs about {gib:.1f} GiB of memory")
            state, measured = programs[form](state, rounds, key)
            logs.append(jax.device_get(measured))
            done += length
            note(done, logs[-1])
            bar.update(task, completed=done)
            if on_divergence == "stop" and (bad := _first_bad(logs[-1], replicas)):
                name, offset = bad
                at = done - length + offset + 1
                raise Diverged(
                    f"{name} is not finite in round {at} of {num_rounds}; a smaller learning rate "
                    "or gradient clipping may help",
                    result("diverged"),
                )
    return result("finished" if done >= num_rounds else "interrupted")


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


def _first_bad(log: dict[str, np.ndarray], replicas: bool) -> tuple[str, int] | None:
    found = None
    for name, values in log.items():
        values = np.moveaxis(values, 1, 0) if replicas else values
        bad = ~np.isfinite(np.asarray(values, float)).reshape(len(values), -1).all(1)
        if bad.any() and (found is None or int(bad.argmax()) < found[1]):
            found = name, int(bad.argmax())
    return found


class RunLog:
    """A file of JSON lines that is complete after every line.

    Args:
        path: the file, which is added to; None writes nothing.
        **tags: fields that every line starts with.
    """

    def __init__(self, path: str | os.PathLike | None, **tags: Any):
        self.path = None if path is None else pathlib.Path(path)
        self.tags = tags

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record; arrays become lists, and numbers that are not finite null."""
        if self.path is None:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(plain(self.tags | record), allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """The value in what JSON has: arrays as lists, numbers that are not finite as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        value = np.asarray(value).tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


@contextlib.contextmanager
def progress_bar(progress: bool | Progress = True) -> Iterator[Progress]:
    """A rich progress bar of the library's style; a given one is used as it is."""
    if isinstance(progress, Progress):
        yield progress
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        yield bar


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into a set event, so that work can end between two pieces."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)  # a second one acts as usual

    signal.signal(signal.SIGINT, handler)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
