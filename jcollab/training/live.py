"""A table in the terminal that shows the newest records of a run."""

from __future__ import annotations

import re
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from jcollab import checks
from jcollab.training.listeners import RunInfo, make_console
from jcollab.training.records import ROUND, Record, scalars

_INDEX = re.compile(r"/\d+(/|$)")


class LiveTable:
    """A listener that shows the newest records as a table on standard error.

    Rows are records, the newest one at the end. Columns are the numbers of records; lists, with an
    entry for each client or replica, are left out unless their entries are named.

    Args:
        *names: columns, such as ``"loss"``, ``"test/accuracy"`` or ``"loss/0"``; without names, all
            numbers that are not in lists.
        rows: largest number of rows.
        console: a rich Console; None for standard error.

    Raises:
        TypeError: if ``console`` is not a rich Console.
        ValueError: if rows < 1.

    Example:
        >>> from rich.console import Console
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> table = jc.training.LiveTable(console=Console(width=40))
        >>> result = jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2,
        ...                 listeners=[table])
        <BLANKLINE>
          round   loss
         ──────────────
              1      1
              2   0.25
        <BLANKLINE>
    """

    def __init__(self, *names: str, rows: int = 10, console: Console | None = None):
        checks.count("rows", rows)
        if console is not None:
            checks.kind(Console, console=console)
        self.names, self.rows, self.console = names, rows, console
        self._records: list[Record] = []
        self._live: Any = None

    def start(self, run: RunInfo) -> None:
        """Shows the records of earlier rounds."""
        self._records = list(run.records[-self.rows :])
        console = self.console or make_console()
        self._live = Live(console=console, get_renderable=self._table, auto_refresh=False)
        self._live.start()

    def record(self, record: Record) -> None:
        """Adds a row."""
        self._records = [*self._records, record][-self.rows :]
        self._live.refresh()

    def stop(self, reason: str) -> None:
        """Leaves the table as it is."""
        self._live.stop()

    def _table(self) -> Table:
        numbers = [scalars(record) for record in self._records]
        # an entry of a list has its index in its path
        single = (name for row in numbers for name in row if not _INDEX.search(name))
        names = self.names or tuple(dict.fromkeys(single))
        table = Table(box=SIMPLE_HEAD, padding=(0, 1))
        for name in (ROUND, *names):
            table.add_column(name, justify="right")
        for record, row in zip(self._records, numbers, strict=True):
            cells = (f"{row[name]:.4g}" if name in row else "" for name in names)
            table.add_row(str(record[ROUND]), *cells)
        return table
