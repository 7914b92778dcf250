"""What every experiment uses: claims, checks of configurations, and the context of a run.

A module of a paper's folder is an experiment (:mod:`experiments.headers` finds it). It has

* ``Config``, a :class:`experiments.fields.Settings`, whose fields can all be set on the command
  line;
* ``PRESETS``, configurations by name, each described in the docstring of the module;
* ``SMOKE``, by preset the fields that make it end in seconds, for ``--smoke``;
* ``run(config, context)``, which gives rows, dictionaries of numbers and texts, that are logged;
* ``claims(config, rows)``, which gives :class:`Claim` after :class:`Claim`;
* ``figures(config, rows, context)``, which draws with ``context.save``;
* where rows need float64, ``X64 = True``;
* where rows are many or wide, ``shown(config, rows) -> rows`` for the table that is printed.
"""

import dataclasses
import importlib
import itertools
import json
import operator
import pathlib
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from rich.progress import Progress

import jcollab as jc
from experiments import headers
from jcollab import plots, training
from jcollab.topology import layout_positions
from jcollab.training.records import plain

CHECKPOINTS = "checkpoints"
Row = dict[str, Any]
Rows = Iterable[Row]


def load(paper: str, preset: str) -> types.ModuleType:
    """The module of a preset; ValueError if the paper or the preset is unknown."""
    preset_header = headers.find(paper, preset)
    return importlib.import_module(f"experiments.{paper}.{preset_header.experiment}")


def configure(paper: str, preset: str, *, smoke: bool = False, **fields: Any) -> Any:
    """The configuration of a preset with other values.

    Args:
        paper: name of the paper.
        preset: name of the preset.
        smoke: whether fields of ``SMOKE`` are replaced first.
        **fields: other values.

    Raises:
        ValueError: if the paper, the preset or a field is unknown, or a value is refused.
    """
    module = load(paper, preset)
    config = module.PRESETS[preset]
    known = [field.name for field in dataclasses.fields(config)]
    for name in fields:
        if name not in known:
            raise ValueError(f"field must be one of {', '.join(known)}, got {name!r}")
    return dataclasses.replace(config, **(module.SMOKE[preset] if smoke else {}) | fields)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence that the results of a run support or not.

    Attributes:
        claim: the sentence.
        expected: the bound that it is compared with, and the paper's number where it has one.
        measured: what this run gave, a number or a text.
        holds: whether the bound is met.
    """

    claim: str
    expected: str
    measured: Any
    holds: bool

    def __post_init__(self) -> None:
        """Numbers of NumPy become those of Python."""
        object.__setattr__(self, "holds", bool(self.holds))
        if isinstance(self.measured, (np.generic, np.ndarray)):
            object.__setattr__(self, "measured", self.measured.item())


Claims = Iterable[Claim]


def _compared(relation: str, holds: Callable[[Any, float], bool]) -> Callable[..., Claim]:
    def compare(claim: str, measured: Any, bound: float, *, note: str = "") -> Claim:
        """A number against a bound, with a note behind it, for example the paper's number."""
        return Claim(
            claim, f"{relation} {bound:g}{_behind(note)}", measured, holds(measured, bound)
        )

    return compare


at_least, above = _compared(">=", operator.ge), _compared(">", operator.gt)
at_most, below = _compared("<=", operator.le), _compared("<", operator.lt)


def between(claim: str, measured: Any, low: float, high: float, *, note: str = "") -> Claim:
    """``low <= measured <= high``."""
    return Claim(claim, f"{low:g} to {high:g}{_behind(note)}", measured, low <= measured <= high)


def within(
    claim: str, deviation: float, bound: float, measured: Any = None, *, note: str = ""
) -> Claim:
    """A relative deviation of at most ``bound``; measured is the deviation if nothing is given."""
    shown = f"{deviation:+.2%}" if measured is None else measured
    return Claim(claim, f"within {bound:.0%}{_behind(note)}", shown, abs(deviation) <= bound)


def _behind(note: str) -> str:
    return f" ({note})" if note else ""


def published(paper: str, *path: Any) -> Any:
    """What a paper's ``published.json`` has below names and numbers; None where it has nothing."""
    value = json.loads((headers.FOLDER / paper / "published.json").read_text())
    for key in path:
        value = (value or {}).get(key if isinstance(key, str) else f"{key:g}")
    return value


def columns(rows: Iterable[Row], names: str) -> np.ndarray:
    """Columns of numbers, an array for each of the names with spaces between them."""
    table = list(rows)
    return np.array([[row[name] for row in table] for name in names.split()], float)


def groups(rows: Iterable[Row], keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """The rows of every combination of columns, whose names have spaces between them, in order."""
    cases: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cases.setdefault(tuple(row[key] for key in keys.split()), []).append(row)
    return cases


def pivot(rows: Iterable[Row], keys: str, column: str, value: str) -> list[Row]:
    """A table with a line for each combination of the keys, and a column for each of another's.

    Args:
        rows: of a run.
        keys: names of columns, with spaces between them.
        column: name of the column whose texts, or numbers behind its name, become columns.
        value: name of the column of the values.
    """
    table = []
    for case, own in groups(rows, keys).items():
        line = dict(zip(keys.split(), case, strict=True))
        for row in own:
            place = row[column] if isinstance(row[column], str) else f"{column} {row[column]:g}"
            line[place] = row[value]
        table.append(line)
    return table


def averages(rows: Iterable[Row], keys: str, std: str = "") -> list[Row]:
    """Means over seeds: a line for each combination of the keys, with the means of all numbers.

    A mean is None where one of the numbers is: what is not finite is written as null.

    Args:
        rows: of a run.
        keys: names of columns, with spaces between them.
        std: name of a column whose standard deviation becomes the column ``std``; empty for none.
    """
    table = []
    for case, own in groups(rows, keys).items():
        line = dict(zip(keys.split(), case, strict=True))
        for name, value in own[0].items():
            if name not in {"seed", *line} and isinstance(value, (int, float, np.number)):
                values = [row[name] for row in own]
                line[name] = None if None in values else np.mean(values)
        table.append(line | ({"std": np.std([row[std] for row in own])} if std else {}))
    return table


def pivoted(*arguments: str) -> Callable[..., list[Row]]:
    """``shown(config, rows)`` that is the :func:`pivot` of the rows."""
    return lambda config, rows: pivot(rows, *arguments)


def averaged(*arguments: str) -> Callable[..., list[Row]]:
    """``shown(config, rows)`` that has the :func:`averages` of the rows."""
    return lambda config, rows: averages(rows, *arguments)


@dataclasses.dataclass
class Context:
    """What a run is given beside its configuration.

    Attributes:
        out: folder for everything that it writes.
        progress: rich Progress to add bars to.
        smoke: whether this is a trial of the machinery only.
        config: the configuration of the run.
        stop: set by Ctrl-C; a run looks at it between pieces of work and returns what it has.
        kept: what ``run`` keeps for ``figures`` beside its rows: curves, images.
        saved: the PNG files written so far.
        on_divergence: of :func:`jcollab.fit`.
        tensorboard: folder for event files, None for none.
        fits: how many long runs there were so far.
    """

    out: pathlib.Path
    progress: Progress
    smoke: bool
    config: Any = None
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    kept: dict[Any, Any] = dataclasses.field(default_factory=dict)
    saved: list[pathlib.Path] = dataclasses.field(default_factory=list)
    on_divergence: str = "stop"
    tensorboard: pathlib.Path | None = None
    fits: int = 0

    def cases(self, *axes: Iterable[Any], description: str = "") -> Iterator[Any]:
        """Every combination of the axes, the last one varying fastest, until the run is stopped.

        With one axis its values, with several tuples; with a description under a progress bar.
        """
        choices = list(itertools.product(*axes))
        bar = self.progress.add_task(description, total=len(choices)) if description else None
        for case in choices:
            if self.stop.is_set():
                return
            yield case if len(axes) > 1 else case[0]
            if bar is not None:
                self.progress.advance(bar)

    def log(self, record: Row, **tags: Any) -> None:
        """Adds a line to ``metrics.jsonl``, tags first; numbers that are not finite become null."""
        with (self.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(plain(tags | record), allow_nan=False) + "\n")

    def fit_options(
        self, description: str = "training", *, tolerant: bool = False, **tags: Any
    ) -> dict[str, Any]:
        """Arguments for :func:`jcollab.fit`: listeners and checkpoints.

        Args:
            description: of the progress bar.
            tolerant: whether to go on whatever diverges, as in a search for a learning rate.
            **tags: fields of every line of the log.
        """
        self.fits += 1
        checkpoint = None
        if not self.smoke:
            folder = self.out / CHECKPOINTS / f"{self.fits:03d}"
            checkpoint = training.Checkpoint(folder, identity=plain(tags))
        listeners: list[Any] = [
            training.ProgressBar(description, self.progress),
            training.JsonLines(self.out / "metrics.jsonl", tags=tags, append=True),
        ]
        if self.tensorboard is not None:
            named = {name: value for name, value in plain(tags).items() if _short(value)}
            run = "-".join(f"{name}.{value}" for name, value in named.items())
            listeners.append(training.TensorBoard(self.tensorboard / (run or "run")))
        return {
            "listeners": listeners,
            "checkpoint": checkpoint,
            "on_divergence": "continue" if tolerant else self.on_divergence,
        }

    def fit(
        self,
        *arguments: Any,
        tags: Row | None = None,
        description: str = "training",
        tolerant: bool = False,
        **options: Any,
    ) -> Any:
        """:func:`jcollab.fit` with the log, the bar and the checkpoints of this run.

        An interrupted training sets ``stop``. One whose last checkpoint cannot be written gives its
        result and a warning.

        Args:
            *arguments: algorithm, state, batches and key.
            tags: fields of every line of the log.
            description: of the progress bar.
            tolerant: whether to go on whatever diverges.
            **options: the others of :func:`jcollab.fit`.
        """
        own = self.fit_options(description, tolerant=tolerant, **(tags or {}))
        try:
            return jc.fit(*arguments, **own, **options)
        except training.NotSaved as error:
            warnings.warn(str(error), stacklevel=2)
            return error.result

    def graph(self, name: str, topology: Any, positions: Any = None) -> None:
        """Puts a graph into ``graphs.json``, so that the report draws logs with the tag
        ``topology`` of this name on it.

        Args:
            name: of the graph.
            topology: a jcollab Topology.
            positions: ``[n, 2]``; None for a layout that suits it.
        """
        path = self.out / "graphs.json"
        graphs = json.loads(path.read_text()) if path.exists() else {}
        places = layout_positions(topology) if positions is None else positions
        edges = [[int(u), int(v)] for u, v in topology.graph.edges]
        graphs[name] = {"edges": edges, "positions": np.asarray(places, float).round(4).tolist()}
        path.write_text(json.dumps(graphs) + "\n")

    def save(self, figure: Any, name: str) -> None:
        """Writes a figure as ``NAME.png``."""
        self.saved.append(self.out / f"{name}.png")
        plots.save(figure, self.saved[-1])


def _short(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
