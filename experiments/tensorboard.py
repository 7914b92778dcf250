"""Event files for TensorBoard: every number of the log as a scalar."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

ROUND = "round"


class Writer:
    """Adds what a log writes to event files below ``folder``, which is written anew.

    A record's texts and numbers that are not metrics name its run; lists (one entry for each client
    or replica) give a scalar for each of their entries.

    Args:
        folder: of the event files.

    Raises:
        ImportError: if tensorboardX is missing.
    """

    def __init__(self, folder: pathlib.Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError(
                '--tensorboard needs tensorboardX: pip install "jax-collab[tracking]"'
            ) from None
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))

    def __call__(self, tags: dict[str, Any], record: dict[str, Any]) -> None:
        """Adds one record of the log with these tags."""
        if ROUND not in record:
            return
        prefix = "-".join(f"{name}.{value}" for name, value in tags.items() if _short(value))
        for name, value in record.items():
            if name != ROUND:
                for path, number in _numbers(name, value):
                    self._writer.add_scalar(f"{path}/{prefix or 'run'}", number, record[ROUND])
        self._writer.flush()

    def close(self) -> None:
        """Ends the files."""
        self._writer.close()


def _short(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _numbers(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, (int, float)):
        return [(name, float(value))]
    if isinstance(value, list):
        return [pair for i, item in enumerate(value) for pair in _numbers(f"{name}/{i}", item)]
    return []
