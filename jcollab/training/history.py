"""Measurements of a run, over pieces and across checkpoints."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jcollab.training.checkpoints import Saved
from jcollab.training.records import Record

Log = dict[str, np.ndarray]


class History(NamedTuple):
    """Measurements so far, as lists that grow.

    Attributes:
        logs: metrics of each piece, ``[length, ...]`` (``[S, length, ...]`` with replicas).
        evaluations: all evaluations in order, each with ``round``.
        records: records that were passed to listeners.
        axis: axis of the rounds in the logs.
    """

    logs: list[Log]
    evaluations: list[dict[str, Any]]
    records: list[Record]
    axis: int

    def log(self) -> Log:
        """Returns the metrics of all rounds."""
        # The concatenation replaces its parts: later calls copy two arrays, not one per piece.
        if len(self.logs) > 1:
            names, axis = self.logs[0], self.axis
            self.logs[:] = [{k: np.concatenate([x[k] for x in self.logs], axis) for k in names}]
        return self.logs[0] if self.logs else {}

    def last(self, count: int) -> Log:
        """Returns the metrics of the last ``count`` rounds, or of all if there are fewer."""
        # usually exactly one piece, which needs no concatenation
        if self.logs and all(v.shape[self.axis] == count for v in self.logs[-1].values()):
            return self.logs[-1]
        cut = (slice(None),) * self.axis + (slice(-count, None),)
        return {name: values[cut] for name, values in self.log().items()}

    def stacked(self) -> dict[str, Any]:
        """Returns all evaluations, stacked ``[E, ...]``."""
        if not self.evaluations:
            return {}
        return jax.tree.map(lambda *rows: np.stack(rows), *self.evaluations)


def of_checkpoint(saved: Saved, axis: int, done: int, every: int, num_rounds: int) -> History:
    """Returns the history of a checkpoint, as a run of ``num_rounds`` would have measured it.

    A run evaluates every ``every`` rounds and at its end. If a longer run continues it, the
    evaluation at the former end is dropped, unless it is at a multiple of ``every``.
    """
    logs = [saved.log] if saved.log else []
    count = len(saved.evaluations["round"]) if saved.evaluations else 0
    rows = [jax.tree.map(lambda leaf: leaf[i], saved.evaluations) for i in range(count)]  # noqa: B023
    records = list(saved.records)
    if done < num_rounds and done % every:
        rows = [row for row in rows if row["round"] != done]
        records = [record for record in records if record["round"] != done]
    return History(logs, rows, records, axis)
