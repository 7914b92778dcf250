"""Execution of an experiment: output folder, checkpoints, summary and printed tables."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import types
from typing import Any

import jax
import rich.box
from rich.console import Console
from rich.table import Table

from experiments import contract, tracking
from experiments.contract import CHECKPOINTS, Context
from experiments.fields import Options
from jcollab import plots
from jcollab.training.checkpoints import difference
from jcollab.training.interrupts import interruptible
from jcollab.training.listeners import progress_bar
from jcollab.training.locks import locked
from jcollab.training.records import plain

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
TABLE: dict[str, Any] = {"box": rich.box.SIMPLE_HEAD, "title_justify": "left", "padding": (0, 1)}


def execute(
    paper: str, preset: str, config: Any, options: Options, console: Console
) -> dict[str, Any]:
    """Runs an experiment and writes config.json, metrics.jsonl, summary.json and figures.

    A run that was killed or interrupted resumes from the checkpoints in the folder, with the same
    results as an uninterrupted run. A finished run deletes them.

    Args:
        paper: name of the paper.
        preset: name of the preset that ``config`` comes from.
        config: resolved configuration.
        options: options such as the output folder, which is created if it does not exist.
        console: console for the tables.

    Returns:
        The contents of summary.json, with ``interrupted`` true if Ctrl-C ended the run early.

    Raises:
        ValueError: if the folder is a file, is in use by another process, or contains checkpoints
            of another configuration.
        jcollab.training.Diverged: if the run diverges; its checkpoints remain.
    """
    module, out = contract.load(paper, preset), options.out
    with locked("out", out):
        try:
            return _execute(module, paper, preset, config, options, console)
        except BaseException:
            _release_folder(out)
            raise


def _execute(
    module: types.ModuleType,
    paper: str,
    preset: str,
    config: Any,
    options: Options,
    console: Console,
) -> dict[str, Any]:
    out = options.out
    settings = plain(dataclasses.asdict(config))
    if not options.smoke:
        owner = {"experiment": paper, "preset": preset} | settings
        if _claim_folder(out, owner, options.fresh):
            console.print(f"Resuming the run in {out}; --fresh starts a new run.")
    (out / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "metrics.jsonl").write_text("")
    (out / "graphs.json").unlink(missing_ok=True)
    if "tensorboard" in options.track:
        shutil.rmtree(out / tracking.EVENTS, ignore_errors=True)
    precision = jax.enable_x64(getattr(module, "X64", jax.config.jax_enable_x64))
    with progress_bar() as progress, interruptible() as stop, precision:
        context = Context(out, progress, options.smoke, config, stop)
        context.on_divergence, context.track = options.on_divergence, options.track
        rows = []
        for row in module.run(config, context):
            rows.append(plain(row))
            context.log(rows[-1])
    finished = not stop.is_set()
    if finished:
        with plots.style():
            module.figures(config, rows, context)
    claims = [*module.claims(config, rows)] if finished and not options.smoke else []
    summary = {
        "experiment": paper,
        "preset": preset,
        "config": settings,
        "versions": versions(),
        "results": rows,
        "claims": [plain(dataclasses.asdict(claim)) for claim in claims],
        "interrupted": not finished,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    if finished:
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    shown = getattr(module, "shown", lambda config, rows: rows)
    show(summary | {"results": plain([*shown(config, rows)])}, console)
    files = [out / name for name in ("config.json", "metrics.jsonl", "summary.json")]
    console.print("Written to:", *files, *context.saved, sep="\n  ")
    return summary


def _claim_folder(out: pathlib.Path, settings: dict[str, Any], fresh: bool) -> bool:
    """Records the run that owns the folder, and returns whether it has checkpoints to resume."""
    folder = out / CHECKPOINTS
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    owner = folder / "run.json"
    if owner.exists() and any(folder.glob("*/*")):
        if changed := difference(json.loads(owner.read_text()), settings):
            raise ValueError(
                f"{out} contains an unfinished run of another configuration: {changed}; use "
                "another --out, or --fresh to start a new run"
            )
        return True
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "run.json.tmp"
    written.write_text(json.dumps(settings, indent=2))
    written.replace(owner)
    return False


def _release_folder(out: pathlib.Path) -> None:
    """Frees the folder for other runs if this one failed before its first checkpoint."""
    folder = out / CHECKPOINTS
    if not any(folder.glob("*/*")):
        shutil.rmtree(folder, ignore_errors=True)


def show(summary: dict[str, Any], console: Console) -> None:
    """Prints the results and the claims of a summary as tables."""
    rows = summary["results"]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    same = {c: rows[0].get(c) for c in columns if len({str(row.get(c)) for row in rows}) == 1}
    if len(rows) > 1:  # columns with a single value move to the title
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
    """Returns versions of packages, the devices and the number of processors."""
    installed = {"jcollab": importlib.metadata.version("jax-collab")}
    installed |= {name: importlib.metadata.version(name) for name in PACKAGES}
    device = jax.devices()[0]
    return installed | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": f"{jax.device_count()} x {device.platform}:{device.device_kind}",
        "processors": str(os.cpu_count()),
    }
