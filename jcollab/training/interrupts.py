"""Orderly interruption by Ctrl-C, or by a scheduler that terminates the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Handler(NamedTuple):
    """A handler of the first signal: sets the event, and restores the previous handlers."""

    event: threading.Event
    before: dict[Any, Any]
    restore: Callable[[], None]

    def __call__(self, signum: int, frame: Any) -> None:
        self.event.set()
        self.restore()  # now, so that a second signal ends a piece that takes too long
        if isinstance(around := self.before[signum], _Handler):
            around(signum, frame)


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Sets an event at the first SIGINT or SIGTERM, so that work can end between two pieces.

    Nested contexts set the events of both. A second signal has its usual effect. In threads other
    than the main thread the event is never set, since Python handles signals in the main thread.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            # unless a nested or an outer context has already restored others
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)

    handle: Any = _Handler(event, before, restore)
    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        restore()
