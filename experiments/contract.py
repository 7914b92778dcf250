"""The contract of experiments: claims, tables of rows, and the context of a run.

An experiment is a module in the folder of a paper (see :mod:`experiments.headers`). It defines

* ``Config``, a :class:`experiments.fields.Settings`; every field is an option of the command line;
* ``PRESETS``, configurations by name, each described in the docstring of the module;
* ``SMOKE``, for each preset the fields with which it ends in seconds, for ``--smoke``;
* ``run(config, context)``, which yields rows: dictionaries of numbers and strings;
* ``claims(config, rows)``, which yields :class:`Claim` objects;
* ``figures(config, rows, context)``, which draws and calls ``context.save``;
* optionally ``X64 = True``, if rows need float64;
* optionally ``shown(config, rows) -> rows``, the table that is printed, if rows are many or wide.
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
from experiments import headers, tracking
from jcollab import plots, training
from jcollab.topology import layout_positions
from jcollab.training.records import plain

CHECKPOINTS = "checkpoints"
Row = dict[str, Any]
Rows = Iterable[Row]


def load(paper: str, preset: str) -> types.ModuleType:
    """Imports the module of a preset; ValueError if the paper or the preset is unknown."""
    preset_header = headers.find(paper, preset)
    return importlib.import_module(f"experiments.{paper}.{preset_header.experiment}")


def configure(paper: str, preset: str, *, smoke: bool = False, **fields: Any) -> Any:
    """Returns the configuration of a preset, with some fields replaced.

    Args:
        paper: name of the paper.
        preset: name of the preset.
        smoke: whether the fields in ``SMOKE`` are replaced first.
        **fields: new values.

    Raises:
        ValueError: if a name is unknown, or a value is outside its range.
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
    """A sentence about the results of a run, which is true or false.

    Attributes:
        claim: the sentence.
        expected: the bound, followed by the paper's number if there is one.
        measured: the result of this run, a number or a string.
        holds: whether the claim is true.
    """

    claim: str
    expected: str
    measured: Any
    holds: bool

    def __post_init__(self) -> None:
        """Converts numbers of NumPy to Python."""
        object.__setattr__(self, "holds", bool(self.holds))
        if isinstance(self.measured, (np.generic, np.ndarray)):
            object.__setattr__(self, "measured", self.measured.item())


Claims = Iterable[Claim]


def _compared(relation: str, holds: Callable[[Any, float], bool]) -> Callable[..., Claim]:
    def compare(claim: str, measured: Any, bound: float, *, note: str = "") -> Claim:
        """Compares a number with a bound; the note is appended, for example the paper's number."""
        return Claim(
            claim, f"{relation} {bound:g}{_behind(note)}", measured, holds(measured, bound)
        )

    return compare


at_least, above = _compared(">=", operator.ge), _compared(">", operator.gt)
at_most, below = _compared("<=", operator.le), _compared("<", operator.lt)


def between(claim: str, measured: Any, low: float, high: float, *, note: str = "") -> Claim:
    """Claims ``low <= measured <= high``."""
    return Claim(claim, f"{low:g} to {high:g}{_behind(note)}", measured, low <= measured <= high)


def within(
    claim: str, deviation: float, bound: float, measured: Any = None, *, note: str = ""
) -> Claim:
    """Claims a relative deviation of at most ``bound``, which is also the default of measured."""
    shown = f"{deviation:+.2%}" if measured is None else measured
    return Claim(claim, f"within {bound:.0%}{_behind(note)}", shown, abs(deviation) <= bound)


def _behind(note: str) -> str:
    return f" ({note})" if note else ""


def published(paper: str, *path: Any) -> Any:
    """Looks up a path of names and numbers in a paper's ``published.json``; None if missing."""
    value = json.loads((headers.FOLDER / paper / "published.json").read_text())
    for key in path:
        value = (value or {}).get(key if isinstance(key, str) else f"{key:g}")
    return value


def columns(rows: Iterable[Row], names: str) -> np.ndarray:
    """Returns columns as an array ``[C, N]``; ``names`` are separated by spaces."""
    table = list(rows)
    return np.array([[row[name] for row in table] for name in names.split()], float)


def groups(rows: Iterable[Row], keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Groups rows by the values of some columns; ``keys`` are separated by spaces."""
    cases: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cases.setdefault(tuple(row[key] for key in keys.split()), []).append(row)
    return cases


def pivot(rows: Iterable[Row], keys: str, column: str, value: str) -> list[Row]:
    """Pivots rows: one line for each combination of keys, one column for each value of ``column``.

    Args:
        rows: rows of a run.
        keys: names of columns, separated by spaces.
        column: the column whose values name the new columns (numbers follow its name).
        value: the column that fills the table.
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
    """Averages over seeds: one line for each combination of keys, with the means of all numbers.

    Rows contain None instead of numbers that are not finite; the mean is then None.

    Args:
        rows: rows of a run.
        keys: names of columns, separated by spaces.
        std: the column whose standard deviation is added as ``std``; empty for none.
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
    """Returns a function ``shown(config, rows)`` that calls :func:`pivot`."""
    return lambda config, rows: pivot(rows, *arguments)


def averaged(*arguments: str) -> Callable[..., list[Row]]:
    """Returns a function ``shown(config, rows)`` that calls :func:`averages`."""
    return lambda config, rows: averages(rows, *arguments)


@dataclasses.dataclass
class Context:
    """The surroundings of a run: output folder, progress, logging and interruption.

    Attributes:
        out: output folder.
        progress: rich Progress for bars.
        smoke: whether the run is a short test of the code.
        config: configuration of the run.
        stop: set by Ctrl-C; a run checks it between pieces of work and returns early.
        kept: data that ``run`` passes to ``figures`` in addition to rows: curves, images.
        saved: PNG files written so far.
        on_divergence: argument of :func:`jcollab.fit`.
        track: names of the programs that also get the log.
        fits: number of trainings so far; each has a separate folder of checkpoints.
    """

    out: pathlib.Path
    progress: Progress
    smoke: bool
    config: Any = None
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    kept: dict[Any, Any] = dataclasses.field(default_factory=dict)
    saved: list[pathlib.Path] = dataclasses.field(default_factory=list)
    on_divergence: str = "stop"
    track: tuple[str, ...] = ()
    fits: int = 0

    def cases(self, *axes: Iterable[Any], description: str = "") -> Iterator[Any]:
        """Yields the values of one axis or the product of several, until the run is stopped.

        The last axis varies fastest. A description adds a progress bar.
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
        """Appends tags and record to ``metrics.jsonl``; numbers that are not finite become null."""
        with (self.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(plain(tags | record), allow_nan=False) + "\n")

    def fit_options(
        self, description: str = "training", *, tolerant: bool = False, **tags: Any
    ) -> dict[str, Any]:
        """Builds arguments for :func:`jcollab.fit`: listeners and checkpoints.

        Args:
            description: text of the progress bar.
            tolerant: whether diverged replicas continue, as in a search for a learning rate.
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
        listeners += tracking.listeners(self.track, self.out, self.progress.console, plain(tags))
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
        """Calls :func:`jcollab.fit` with the arguments of :meth:`fit_options`.

        An interrupted training sets ``stop``. If the last checkpoint cannot be written, the result
        is returned with a warning.
        """
        own = self.fit_options(description, tolerant=tolerant, **(tags or {}))
        try:
            return jc.fit(*arguments, **own, **options)
        except training.NotSaved as error:
            warnings.warn(str(error), stacklevel=2)
            return error.result

    def graph(self, name: str, topology: Any, positions: Any = None) -> None:
        """Writes a graph to ``graphs.json``, on which the report draws logs with tag ``topology``.

        Args:
            name: value of the tag.
            topology: the graph.
            positions: ``[n, 2]``; None for a computed layout.
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
