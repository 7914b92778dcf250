"""What every experiment is: presets, a run that returns rows, claims that are computed from them.

A paper's folder holds ``config.py`` with ``PRESETS`` (light: it is imported to list them) and
``run.py`` with ``MODULES``, the module for each type of configuration. A module has
``run(config, context) -> rows`` and ``claims(config, rows) -> list of Claim``, and where rows are
many or wide, ``shown(config, rows) -> rows`` for the table that is printed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import threading
import types
from collections.abc import Mapping
from typing import Any

import rich.box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

PAPERS = (
    "relaysgd",
    "clipped_gossip",
    "optimal_averaging",
    "grad_align",
    "critical_params",
    "dbat",
    "rep_sharing",
    "crosslingual",
    "x2static",
    "flow_perturbations",
    "federated",
)
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
CHECKPOINTS = "checkpoints"
Row = dict[str, Any]
TABLE: dict[str, Any] = {"box": rich.box.SIMPLE_HEAD, "title_justify": "left", "padding": (0, 1)}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A configuration with a name.

    Attributes:
        config: frozen dataclass; all of its fields can be set on the command line.
        about: what it runs, in a line.
        cost: time on 2 cores, or the hardware that it needs.
        expected: the numbers to expect.
        smoke: fields that make it end in seconds, for ``--smoke``.
    """

    config: Any
    about: str
    cost: str
    expected: str
    smoke: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence that the results of a run support or not.

    Attributes:
        claim: the sentence.
        expected: the bound that it is held against, and the paper's number where it has one.
        measured: what this run gave.
        holds: whether the bound is met.
    """

    claim: str
    expected: str
    measured: Any
    holds: bool


@dataclasses.dataclass
class Context:
    """What a run is given beside its configuration.

    Attributes:
        out: folder for everything that it writes.
        progress: rich Progress to add bars to.
        smoke: whether this is a trial of the machinery only.
        stop: set by Ctrl-C; a run looks at it between pieces of work and returns what it has.
        figures: the PNG files written so far.
        on_divergence: of :func:`jcollab.fit`.
        listener: told of every record of the log.
        fits: how many long runs there were so far.
    """

    out: pathlib.Path
    progress: Progress
    smoke: bool
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    figures: list[pathlib.Path] = dataclasses.field(default_factory=list)
    on_divergence: str = "stop"
    listener: Any = None
    fits: int = 0

    def log(self, **tags: Any) -> Any:
        """A log into ``metrics.jsonl`` whose lines carry the tags."""
        from jcollab.run_log import RunLog

        return RunLog(self.out / "metrics.jsonl", self.listener, **tags)

    def fit_options(self, *, tolerant: bool = False, **tags: Any) -> dict[str, Any]:
        """What :func:`jcollab.fit` is given by every experiment: log, bar and checkpoints.

        Args:
            tolerant: whether to go on whatever diverges, as in a search for a learning rate.
            **tags: fields of every line of the log.
        """
        from jcollab.run_log import plain

        self.fits += 1
        folder = self.out / CHECKPOINTS / f"{self.fits:03d}"
        return {
            "log": self.log(**tags),
            "progress": self.progress,
            "checkpoint": None if self.smoke else folder,
            "identity": plain(tags),
            "on_divergence": "continue" if tolerant else self.on_divergence,
        }

    def save(self, figure: Any, name: str) -> None:
        """Writes a figure as ``NAME.png``."""
        from jcollab import plots

        self.figures.append(self.out / f"{name}.png")
        plots.save(figure, self.figures[-1])


def check_counts(config: Any, *names: str) -> None:
    """ValueError for a field that must be at least 1 and is not."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")


def check_among(name: str, values: tuple[Any, ...], known: tuple[str, ...]) -> None:
    """ValueError for a value that there is not, or for none."""
    if not values or not set(values) <= set(known):
        raise ValueError(f"{name} must be among {', '.join(known)}, got {values}")


def presets(paper: str) -> dict[str, Preset]:
    """The presets of a paper; ValueError if there is no such paper."""
    if paper not in PAPERS:
        raise ValueError(f"paper must be one of {', '.join(PAPERS)}, got {paper!r}")
    return importlib.import_module(f"experiments.{paper}.config").PRESETS


def find(paper: str, preset: str) -> Preset:
    """A preset by name; ValueError if the paper or the preset is unknown."""
    known = presets(paper)
    if preset not in known:
        raise ValueError(f"preset of {paper} must be one of {', '.join(known)}, got {preset!r}")
    return known[preset]


def configure(preset: Preset, *, smoke: bool = False, **fields: Any) -> Any:
    """The preset's configuration with other values; ValueError for a field that it has not."""
    known = [field.name for field in dataclasses.fields(preset.config)]
    for name in fields:
        if name not in known:
            raise ValueError(f"field must be one of {', '.join(known)}, got {name!r}")
    return dataclasses.replace(preset.config, **({**preset.smoke} if smoke else {}) | fields)


def execute(
    paper: str,
    preset: str,
    config: Any,
    out: pathlib.Path,
    *,
    smoke: bool = False,
    fresh: bool = False,
    on_divergence: str = "stop",
    tensorboard: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs an experiment and writes config.json, metrics.jsonl, summary.json and figures.

    A run that was killed or interrupted left checkpoints in the folder, and goes on from them: what
    it then writes is what it would have written without. A run that ends deletes them.

    Args:
        paper: name of the paper.
        preset: name of the preset that ``config`` comes from.
        config: resolved configuration.
        out: folder to write into; made if it does not exist.
        smoke: computes no claims, writes no checkpoints.
        fresh: starts anew whatever checkpoints there are.
        on_divergence: ``"stop"`` or ``"continue"``, where the experiment does not go on anyway.
        tensorboard: also writes event files into ``out/tensorboard``.
        console: where tables go; None for standard output.

    Returns:
        What summary.json holds, with ``interrupted`` true if Ctrl-C ended the run early.

    Raises:
        ValueError: if the folder's checkpoints are of a run of another configuration.
        jcollab.training.Diverged: if a run does; its checkpoints stay.
    """
    from jcollab.run_log import interruptible, plain, progress_bar

    console = console or Console()
    modules: dict[type, types.ModuleType] = importlib.import_module(
        f"experiments.{paper}.run"
    ).MODULES
    module = modules[type(config)]
    out.mkdir(parents=True, exist_ok=True)
    settings = plain(dataclasses.asdict(config))
    if not smoke:
        resumed = _claim_folder(out, {"experiment": paper, "preset": preset} | settings, fresh)
        if resumed:
            console.print(f"Going on with the run in {out}; --fresh starts anew.")
    (out / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "metrics.jsonl").write_text("")
    with contextlib.ExitStack() as stack:
        listener = None
        if tensorboard:
            from experiments.tensorboard import Writer

            listener = Writer(out / "tensorboard")
            stack.callback(listener.close)
        progress, stop = stack.enter_context(progress_bar()), stack.enter_context(interruptible())
        context = Context(
            out, progress, smoke, stop, on_divergence=on_divergence, listener=listener
        )
        rows = module.run(config, context)
    judged = [] if smoke or stop.is_set() else module.claims(config, rows)
    summary = {
        "experiment": paper,
        "preset": preset,
        "config": settings,
        "versions": versions(),
        "results": [plain(row) for row in rows],
        "claims": [plain(dataclasses.asdict(claim)) for claim in judged],
        "interrupted": stop.is_set(),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    if not stop.is_set():
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    shown = getattr(module, "shown", lambda config, rows: rows)
    show(summary | {"results": plain(shown(config, summary["results"]))}, console)
    files = [out / name for name in ("config.json", "metrics.jsonl", "summary.json")]
    console.print("Written to:", *files, *context.figures, sep="\n  ")
    return summary


def _claim_folder(out: pathlib.Path, settings: dict[str, Any], fresh: bool) -> bool:
    """Whether there are checkpoints to go on from; notes whose the folder is."""
    from jcollab.checkpoints import difference

    folder = out / CHECKPOINTS
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    owner = folder / "run.json"
    if owner.exists():
        if changed := difference(json.loads(owner.read_text()), settings):
            raise ValueError(
                f"{out} holds an unfinished run of another configuration: {changed}; take another "
                "--out, or --fresh to start anew"
            )
        return True
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "run.json.tmp"
    written.write_text(json.dumps(settings, indent=2))
    written.replace(owner)
    return False


def show(summary: dict[str, Any], console: Console) -> None:
    """Prints the results and the claims of a summary as tables."""
    rows = summary["results"]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    same = {c: rows[0].get(c) for c in columns if len({str(row.get(c)) for row in rows}) == 1}
    if len(rows) > 1:  # what all rows share goes into the title
        columns = [c for c in columns if c not in same]
    else:
        same = {}
    title = f"{summary['experiment']} {summary['preset']}"
    title += "".join(f", {key} {_cell(value)}" for key, value in same.items())
    table = Table(title=title, **TABLE)
    for column in columns:
        number = all(isinstance(row.get(column), (int, float, type(None))) for row in rows)
        justify = "right" if number else "left"
        label = column.replace("accuracy", "acc.").replace("_", "\n")
        table.add_column(label, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table)
    if summary["claims"]:
        table = Table("claim", "expected", "measured", "holds", title="claims", **TABLE)
        for claim in summary["claims"]:
            mark = "[green]yes[/]" if claim["holds"] else "[bold red]NO[/]"
            table.add_row(claim["claim"], claim["expected"], _cell(claim["measured"]), mark)
        console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "–" if value is None else str(value)


def versions() -> dict[str, str]:
    """Versions of what the results may depend on, the devices and the number of processors."""
    import jax

    found = {"jcollab": importlib.metadata.version("jax-collab")}
    found |= {name: importlib.metadata.version(name) for name in PACKAGES}
    device = jax.devices()[0]
    return found | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": f"{jax.device_count()} x {device.platform}:{device.device_kind}",
        "processors": str(os.cpu_count()),
    }
