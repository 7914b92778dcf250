"""Rounds of a library that owns its training loop, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Rounds:
    """Calls ``train(wait)`` in a thread; one call of the object lets it run to the next wait.

    Args:
        train: calls ``wait()`` before each round.
    """

    def __init__(self, train: Callable[[Callable[[], None]], Any]):
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._train, args=(train,), daemon=True)
        self._thread.start()
        self._finish()  # reached the first round

    def __call__(self) -> None:
        """Runs one round."""
        self._go.release()
        self._finish()

    def _train(self, train: Callable[[Callable[[], None]], Any]) -> None:
        try:
            train(self._wait)
        except BaseException as error:
            self._error = error
            self._done.release()

    def _wait(self) -> None:
        self._done.release()
        self._go.acquire()

    def _finish(self) -> None:
        self._done.acquire()
        if self._error:
            raise self._error
