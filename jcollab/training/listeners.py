"""Listeners, which receive the records of a run while it is running."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

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

from jcollab.training.records import Record, check_json, plain


class RunInfo(NamedTuple):
    """Information about a run that starts or resumes.

    Attributes:
        num_rounds: T, the round at which the run ends.
        done: number of rounds that are finished already.
        records: earlier records of the run, from a checkpoint.
        identity: identity of the checkpoint, for example the configuration; empty without one.
        names: client names by index, None if clients have none.
    """

    num_rounds: int
    done: int
    records: Sequence[Record]
    identity: Mapping[str, Any]
    names: Sequence[Any] | None = None


class Listener(Protocol):
    """An object that receives the records of a run.

    A record is a dictionary of JSON values: ``round``, the mean of every metric over the rounds
    since the last record, and the evaluation. Arrays are lists, and None replaces numbers that are
    not finite. An error that a method raises ends the run.

    Example:
        >>> class PrintLoss:
        ...     def start(self, run): print("until round", run.num_rounds)
        ...     def record(self, record): print(record["round"], record["loss"])
        ...     def stop(self, reason): print(reason)
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> result = jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2,
        ...                 listeners=[PrintLoss()])
        until round 2
        1 1.0
        2 0.25
        finished
    """

    def start(self, run: RunInfo) -> None:
        """Is called when a run starts or resumes."""

    def record(self, record: Record) -> None:
        """Is called after each evaluation (every ``eval_every`` rounds)."""

    def stop(self, reason: str) -> None:
        """Is called at the end, with "finished", "interrupted", "diverged" or "failed"."""


def check_listeners(listeners: Any) -> None:
    """Raises TypeError unless it is a sequence of objects with all methods of a listener."""
    if not isinstance(listeners, Sequence) or isinstance(listeners, str):
        raise TypeError(f"listeners must be a list of listeners, got {type(listeners).__name__}")
    for i, listener in enumerate(listeners):
        methods = (getattr(listener, name, None) for name in ("start", "record", "stop"))
        if isinstance(listener, type) or not all(map(callable, methods)):
            kind = getattr(listener, "__name__", type(listener).__name__)
            raise TypeError(
                f"listeners[{i}] must be an object with start, record and stop, got {kind}"
            )


@contextlib.contextmanager
def listening(listeners: Sequence[Listener], run: RunInfo) -> Iterator[Callable[[Record], None]]:
    """Starts listeners, yields a function that passes a record to all of them, and stops them."""
    last, reason = run.done, "failed"  # replaced below unless an error ends the run

    def pass_on(record: Record) -> None:
        nonlocal last
        for listener in listeners:
            listener.record(record)
        last = record["round"]

    def stop(listener: Listener) -> None:
        listener.stop(reason)

    # a stack: if the start of a listener fails, those before it are stopped, for example so that
    # no progress bar stays on the screen
    with contextlib.ExitStack() as stack:
        for listener in listeners:
            listener.start(run)
            stack.callback(stop, listener)
        try:
            yield pass_on
            reason = "finished" if last >= run.num_rounds else "interrupted"
        except FloatingPointError:
            reason = "diverged"
            raise


class ProgressBar:
    """A listener that shows a progress bar on standard error.

    Args:
        description: title of the bar.
        progress: a rich Progress to which the bar is added; None for a new one.

    Example:
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> result = jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2,
        ...                 listeners=[jc.training.ProgressBar("gradient descent")])
        >>> result.stopped
        'finished'
    """

    def __init__(self, description: str = "training", progress: Progress | None = None):
        self.description = description
        self.progress = progress
        # a stack, since one object may serve nested runs: the last entry is the innermost run
        self._shown: list[tuple[Progress, Any]] = []

    def start(self, run: RunInfo) -> None:
        """Shows the bar."""
        progress = self.progress or make_progress()
        if self.progress is None:
            progress.start()
        task = progress.add_task(self.description, total=run.num_rounds, completed=run.done)
        self._shown.append((progress, task))

    def record(self, record: Record) -> None:
        """Moves the bar to the round of the record."""
        progress, task = self._shown[-1]
        progress.update(task, completed=record["round"])

    def stop(self, reason: str) -> None:
        """Leaves the bar as it is."""
        progress, _ = self._shown.pop()
        if self.progress is None:
            progress.stop()


class JsonLines:
    """A listener that writes each record as one line of JSON to a file.

    A new run overwrites the file. A run that resumes from a checkpoint overwrites it too, and first
    writes the records of the checkpoint, so that the file is equal to that of one long run. A run
    that continues from a state appends to the file.

    Args:
        path: path of the file.
        tags: fields that are added at the start of every line.
        append: whether to append in every case, for a file of many runs.

    Raises:
        TypeError: if tags contain values that JSON cannot represent.

    Example:
        >>> import tempfile
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = jc.training.JsonLines(f"{folder}/log.jsonl", tags={"seed": 0})
        ...     _ = jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2,
        ...                listeners=[file])
        ...     print(file.path.read_text())
        {"seed": 0, "round": 1, "loss": 1.0}
        {"seed": 0, "round": 2, "loss": 0.25}
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        tags: Mapping[str, Any] | None = None,
        append: bool = False,
    ):
        self.path = pathlib.Path(path)
        self.tags = dict(tags or {})
        check_json("tags", self.tags)
        self.append = append

    def start(self, run: RunInfo) -> None:
        """Writes the records of earlier rounds."""
        # without records but with finished rounds, the run continues from a state: the file may
        # contain the earlier rounds
        if not self.append and (run.records or not run.done):
            self.path.write_text("")
        self._add(run.records)

    def record(self, record: Record) -> None:
        """Appends a line."""
        self._add([record])

    def stop(self, reason: str) -> None:
        """Does nothing, since every line is complete."""

    def _add(self, records: Sequence[Record]) -> None:
        # one write, and the file is closed: a killed process leaves whole lines
        lines = [json.dumps(plain(self.tags | record), allow_nan=False) for record in records]
        with self.path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))


def make_progress(shown: bool = True) -> Progress:
    """Builds a rich Progress in the library's style."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=make_console(), disable=not shown)


def make_console() -> Console:
    """Builds a rich Console on standard error."""
    console = Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        # In a notebook, a moving bar needs ipywidgets. Without it, rich would print a warning for
        # each bar; as a plain terminal, it prints the bar once, at its end.
        console = Console(stderr=True, force_jupyter=False, force_terminal=False)
    return console


@contextlib.contextmanager
def progress_bar(progress: bool | Progress = True) -> Iterator[Progress]:
    """Opens a rich progress bar in the library's style, or yields the given one."""
    if isinstance(progress, Progress):
        yield progress
        return
    with make_progress(progress) as bar:
        yield bar
