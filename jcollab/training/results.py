"""What a run leaves, and how one that diverges ends."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from jcollab.core import State


class Result(NamedTuple):
    """What a run leaves.

    Attributes:
        state: the last state.
        log: every metric of ``algorithm`` over the rounds of this run, NumPy ``[T, ...]``
            (``[S, T, ...]`` with replicas), those before a checkpoint included.
        evaluations: what ``evaluate`` returned, stacked over evaluations (``[E, ...]``), with
            ``round``.
        stopped: ``"finished"``, ``"interrupted"`` by a signal, or ``"diverged"``.
    """

    state: State
    log: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]
    stopped: Literal["finished", "interrupted", "diverged"]


class NotSaved(OSError):
    """The last checkpoint could not be written; ``result`` is that of the run all the same."""

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result


class Diverged(FloatingPointError):
    """A metric or a model is infinite or NaN; ``result`` is what was measured until then."""

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result
