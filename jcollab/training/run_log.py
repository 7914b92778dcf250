"""What a long run shows and writes: JSON lines, a progress bar, and an end by Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
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


class RunLog:
    """A file of JSON lines that is complete after every line.

    Args:
        path: the file, which is added to; None writes nothing.
        listener: ``listener(tags, record)``, told of every record as JSON has it.
        **tags: fields that every line starts with.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        listener: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
        **tags: Any,
    ):
        self.path = None if path is None else pathlib.Path(path)
        self.listener = listener
        self.tags = tags

    def write(self, record: dict[str, Any]) -> str:
        """Adds a record, and returns its line; numbers that are not finite become null."""
        line = json.dumps(plain(self.tags | record), allow_nan=False)
        self.write_lines([line])
        return line

    def write_lines(self, lines: Sequence[str]) -> None:
        """Adds lines as they are."""
        if self.listener:
            tags = plain(self.tags)
            for line in lines:
                record = {k: v for k, v in json.loads(line).items() if k not in tags}
                self.listener(tags, record)
        if self.path is not None and lines:
            with self.path.open("a") as file:
                file.write("".join(f"{line}\n" for line in lines))


def opened(log: RunLog | str | os.PathLike | None, lines: list[str] | None = None) -> RunLog:
    """The log of a run: a given one as it is, or that of a file.

    Args:
        log: a log, a file, or None for none.
        lines: what the run has written before, which takes the place of what the file holds; None
            leaves that as it is.
    """
    sink = log if isinstance(log, RunLog) else RunLog(log)
    if lines is not None:
        if sink is not log and sink.path:
            sink.path.unlink(missing_ok=True)
        sink.write_lines(lines)
    return sink


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
