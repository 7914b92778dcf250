"""An orderly end by Ctrl-C, or by a scheduler that terminates the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a set event, so that work can end between two pieces.

    A second one acts as it would without. Signals arrive in the main thread: in any other one, the
    event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(signum: int, frame: Any) -> None:
        event.set()
        restore()

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        restore()
