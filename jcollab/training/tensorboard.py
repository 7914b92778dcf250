"""Event files for TensorBoard, with every number of the records as a scalar."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from jcollab.training.listeners import RunInfo
from jcollab.training.records import ROUND, Record, scalars


class TensorBoard:
    """A listener that writes the numbers of records to event files.

    Lists (with an entry for each client or replica) become one scalar per entry, ``loss/0``,
    ``loss/1``. Events of an earlier run in the folder are not deleted but marked as overwritten:
    TensorBoard does not show them.

    Args:
        folder: folder of the event files of this run. TensorBoard compares runs in neighboring
            folders.

    Raises:
        ImportError: if tensorboardX is not installed.

    Example:
        >>> import os, tempfile
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2,
        ...                listeners=[jc.training.TensorBoard(folder)])
        ...     print(len(os.listdir(folder)), "file")
        1 file
    """

    def __init__(self, folder: str | os.PathLike):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                'TensorBoard needs tensorboardX: pip install "jax-collab[tracking]"'
            ) from error
        self._open = SummaryWriter
        self.folder = pathlib.Path(folder)
        self._writer: Any = None

    def start(self, run: RunInfo) -> None:
        """Opens a file, and writes the records of earlier rounds."""
        # the first step of this file: TensorBoard hides older events from there on
        first = 0 if run.records or not run.done else run.done + 1
        self._writer = self._open(str(self.folder), purge_step=first)
        for record in run.records:
            self.record(record)

    def record(self, record: Record) -> None:
        """Writes the numbers of a record."""
        for path, number in scalars(record).items():
            self._writer.add_scalar(path, number, record[ROUND])
        self._writer.flush()

    def stop(self, reason: str) -> None:
        """Closes the file."""
        self._writer.close()
