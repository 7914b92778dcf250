"""An orderly end by Ctrl-C, or by a scheduler that terminates the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Handler(NamedTuple):
    """Handles the first signal."""

    event: threading.Event
    before: dict[Any, Any]
    restore: Callable[[], None]

    def __call__(self, signum: int, frame: Any) -> None:
        self.event.set()
        self.restore()
        if isinstance(around := self.before[signum], _Handler):
            around(signum, frame)


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a set event, so that work can end between two pieces.

    One inside another sets the events of both, and a second signal acts as it would without.
    Signals arrive in the main thread: in any other one, the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:  # else the one around has restored its own
                signal.signal(number, handler)

    handle: Any = _Handler(event, before, restore)
    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        restore()
