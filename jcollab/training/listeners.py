"""Listeners, which get the records of a run while it goes on."""

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
    """A run that starts.

    Attributes:
        num_rounds: T, at which the run ends.
        done: rounds that are done already.
        records: those of the rounds before, which come from a checkpoint.
        identity: of the checkpoint, for example the configuration; empty without one.
        names: of the clients, by number; None where they have none.
    """

    num_rounds: int
    done: int
    records: Sequence[Record]
    identity: Mapping[str, Any]
    names: Sequence[Any] | None = None


class Listener(Protocol):
    """Gets the records of a run.

    A record is a dictionary of what JSON has: ``round``, the mean of every metric over the rounds
    since the last record, and the evaluation. Arrays are lists, and None stands for what is not
    finite. An error that a method raises ends the run.
    """

    def start(self, run: RunInfo) -> None:
        """A run starts, or goes on."""

    def record(self, record: Record) -> None:
        """An evaluation was made (every ``eval_every`` rounds)."""

    def stop(self, reason: str) -> None:
        """The run has ended: finished, interrupted, diverged, or failed with an error."""


def check_listeners(listeners: Any) -> None:
    """TypeError unless it is a sequence of objects with the methods of a :class:`Listener`."""
    if not isinstance(listeners, Sequence) or isinstance(listeners, str):
        raise TypeError(f"listeners must be a list of them, got {type(listeners).__name__}")
    for i, listener in enumerate(listeners):
        methods = (getattr(listener, name, None) for name in ("start", "record", "stop"))
        if isinstance(listener, type) or not all(map(callable, methods)):
            kind = getattr(listener, "__name__", type(listener).__name__)
            raise TypeError(
                f"listeners[{i}] must be an object with start, record and stop, got {kind}"
            )


@contextlib.contextmanager
def listening(listeners: Sequence[Listener], run: RunInfo) -> Iterator[Callable[[Record], None]]:
    """Starts listeners, yields the function that passes a record to all of them, and stops them."""
    last, reason = run.done, "failed"

    def pass_on(record: Record) -> None:
        nonlocal last
        for listener in listeners:
            listener.record(record)
        last = record["round"]

    def stop(listener: Listener) -> None:
        listener.stop(reason)

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
    """A progress bar on standard error.

    Args:
        description: its title.
        progress: a rich Progress to add the bar to; None for one of its own.
    """

    def __init__(self, description: str = "training", progress: Progress | None = None):
        self.description = description
        self.progress = progress
        self._shown: list[tuple[Progress, Any]] = []  # the last one is of the innermost run

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
    """A file with one JSON object for each record, complete after every line.

    A run that begins writes the file anew. One that goes on from a checkpoint writes what the
    checkpoint knows first, so that the file is that of one long run, and one that goes on from a
    state adds to it.

    Args:
        path: the file.
        tags: fields that every line starts with.
        append: adds to the file in any case, which may then be that of many runs.

    Raises:
        TypeError: if tags have something that JSON does not have.
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
        """Writes the records of the rounds before."""
        if not self.append and (run.records or not run.done):
            self.path.write_text("")
        self._add(run.records)

    def record(self, record: Record) -> None:
        """Adds a line."""
        self._add([record])

    def stop(self, reason: str) -> None:
        """Does nothing: every line is complete."""

    def _add(self, records: Sequence[Record]) -> None:
        lines = [json.dumps(plain(self.tags | record), allow_nan=False) for record in records]
        with self.path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))


def make_progress(shown: bool = True) -> Progress:
    """A rich Progress of the library's style."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        # a bar that moves in a notebook needs ipywidgets; without, it is printed at its end
        console = Console(stderr=True, force_jupyter=False, force_terminal=False)
    return Progress(*columns, console=console, disable=not shown)


@contextlib.contextmanager
def progress_bar(progress: bool | Progress = True) -> Iterator[Progress]:
    """A rich progress bar of the library's style; a given one is used as it is."""
    if isinstance(progress, Progress):
        yield progress
        return
    with make_progress(progress) as bar:
        yield bar
