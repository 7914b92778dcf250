"""What a run has measured so far, over pieces and over checkpoints."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jcollab.training.checkpoints import Saved
from jcollab.training.records import Record

Log = dict[str, np.ndarray]


class History(NamedTuple):
    """What was measured so far; the lists grow.

    Attributes:
        logs: metrics of pieces, ``[length, ...]`` (``[S, length, ...]`` with replicas).
        evaluations: one by one, with ``round``.
        records: what listeners got.
        axis: of rounds in the logs.
    """

    logs: list[Log]
    evaluations: list[dict[str, Any]]
    records: list[Record]
    axis: int

    def log(self) -> Log:
        """Metrics of all rounds."""
        if len(self.logs) > 1:
            names, axis = self.logs[0], self.axis
            self.logs[:] = [{k: np.concatenate([x[k] for x in self.logs], axis) for k in names}]
        return self.logs[0] if self.logs else {}

    def last(self, count: int) -> Log:
        """Metrics of at most ``count`` rounds at the end."""
        if self.logs and all(v.shape[self.axis] == count for v in self.logs[-1].values()):
            return self.logs[-1]
        cut = (slice(None),) * self.axis + (slice(-count, None),)
        return {name: values[cut] for name, values in self.log().items()}

    def stacked(self) -> dict[str, Any]:
        """All evaluations, ``[E, ...]``."""
        if not self.evaluations:
            return {}
        return jax.tree.map(lambda *rows: np.stack(rows), *self.evaluations)


def of_checkpoint(saved: Saved, axis: int, done: int, every: int, num_rounds: int) -> History:
    """The history in a checkpoint, without what a run of ``num_rounds`` would not have measured.

    A run evaluates every ``every`` rounds and at its end, where a longer one does not.
    """
    logs = [saved.log] if saved.log else []
    count = len(saved.evaluations["round"]) if saved.evaluations else 0
    rows = [jax.tree.map(lambda leaf: leaf[i], saved.evaluations) for i in range(count)]  # noqa: B023
    records = list(saved.records)
    if done < num_rounds and done % every:
        rows = [row for row in rows if row["round"] != done]
        records = [record for record in records if record["round"] != done]
    return History(logs, rows, records, axis)
