"""``python -m experiments [PAPER [PRESET [--smoke] [--seed S] [--out DIR] [--FIELD VALUE ...]]]``.

Without a preset, the command lists papers and presets. Several values for a numeric field start
several runs: ``--learning_rate 0.1 0.2 --seed 0 1 2``. Exit status: 0; 1 if a claim is false; 2 for
bad input, a missing package, files or memory; 3 if a run diverges; 4 for an error of the program,
with its traceback; 130 if interrupted. ``python -m experiments report DIR ...`` writes one page
with the results of several runs, ``python -m experiments tables`` the tables of the documentation.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import pathlib
import sys
import traceback
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments import grid, headers
from experiments.fields import Options

# packages that experiments import and the library does not require
NEEDED = ("bokeh", "jinja2", "matplotlib", "pandas", "tyro")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(width=None if sys.stdout.isatty() else 120)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f'experiments need {", ".join(missing)}: pip install "jax-collab[experiments]"')
        return 2
    try:
        return _dispatch(arguments, console)
    except (ValueError, OSError, ImportError, MemoryError) as error:
        shown = escape(str(error))  # brackets are not the markup of rich
        console.print(f"[bold red]error:[/] {shown}", highlight=False, soft_wrap=True)
        return 2
    except FloatingPointError as error:
        shown = escape(str(error))  # brackets are not the markup of rich
        console.print(f"[bold red]diverged:[/] {shown}", highlight=False, soft_wrap=True)
        return 3
    except KeyboardInterrupt:
        return 130
    except Exception:  # status 1 is reserved for false claims
        traceback.print_exc()
        return 4


def _dispatch(arguments: list[str], console: Console) -> int:
    if arguments[:1] in (["report"], ["tables"]):
        made = importlib.import_module(f"experiments.{arguments[0]}").main(arguments[1:])
        console.print("Written to:", *(made if isinstance(made, list) else [made]), sep="\n  ")
        return 0
    names = [a for a in arguments if not a.startswith("-")][:2]
    if len(names) < 2 or arguments[:2] != names:
        papers = headers.papers()
        if names and arguments[:1] == names:
            papers = {names[0]: headers.find_paper(names[0])}
        _list(console, papers)
        return 0
    paper, name = names
    preset = headers.find(paper, name)
    _prepare_jax()
    from experiments import contract

    runs = grid.expand(arguments[2:], contract.configure(paper, name))
    parsed = [
        parse(paper, name, own) for _, own in runs
    ]  # errors appear before the first run starts
    console.print(f"[bold]{paper} {name}[/]: {preset.about}")
    console.print(f"Cost: {preset.cost}. Expected: {preset.expected}.")
    if len(runs) == 1:
        return _run(paper, name, *parsed[0], console)[0]
    return _run_all(paper, name, [point for point, _ in runs], parsed, console)


def _run_all(
    paper: str, name: str, points: list[grid.Point], parsed: list[tuple], console: Console
) -> int:
    """Runs every point of a grid in a separate folder, and prints means over seeds."""
    from experiments import execution

    first = parsed[0][1]
    out, keep = first.out, grid.unfinished(first.out) and not first.fresh and not first.smoke
    (out / "summary.json").unlink(missing_ok=True)
    if not keep:
        for point in points:
            (out / grid.label(point) / "summary.json").unlink(missing_ok=True)
    states, summaries = [], []
    for i, (point, (config, options)) in enumerate(zip(points, parsed, strict=True)):
        folder = dataclasses.replace(options, out=out / grid.label(point))
        console.rule(f"run {i + 1} of {len(points)}: {grid.label(point)}")
        if keep and (ended := grid.finished(folder.out, config)):
            console.print(f"Finished before: {folder.out}; --fresh repeats it.")
            state, summary = _status(ended), ended
        else:
            state, summary = _run(paper, name, config, folder, console)
        states.append(state)
        summaries.append(summary)
        if summary["interrupted"]:
            break
    whole = grid.write(out, points[: len(summaries)], summaries)
    console.rule(f"{len(summaries)} runs")
    execution.show(whole | {"results": grid.shown(whole["results"])}, console)
    console.print(f"Written to:\n  {out / 'summary.json'}")
    return max(states)


def _run(
    paper: str, name: str, config: Any, options: Options, console: Console
) -> tuple[int, dict[str, Any]]:
    """Executes one run and returns its exit status and its summary."""
    from experiments import execution

    console.print(config)
    if options.resume:
        if not (options.resume / execution.CHECKPOINTS).is_dir():
            raise ValueError(f"resume must be a folder with checkpoints, got {options.resume}")
        options = dataclasses.replace(options, out=options.resume)
    summary = execution.execute(paper, name, config, options, console)
    if summary["interrupted"]:
        console.print("[yellow]Interrupted: results so far. The same command resumes the run.[/]")
    return _status(summary), summary


def _status(summary: dict[str, Any]) -> int:
    if summary["interrupted"]:
        return 130
    return 0 if all(claim["holds"] for claim in summary["claims"]) else 1


def parse(paper: str, name: str, arguments: list[str]) -> tuple[Any, Options]:
    """Parses command-line arguments into a configuration and options.

    Raises:
        ValueError: for an unknown paper, preset or field, or a value outside the range of a field.
    """
    import tyro

    from experiments import contract

    default = contract.configure(paper, name, smoke="--smoke" in arguments)
    fields = [f.name for f in dataclasses.fields(default)]
    options = [field.name for field in dataclasses.fields(Options)]
    known = {*fields, *options, "help"}
    for argument in arguments:
        if not argument.startswith("--"):
            continue
        field = argument[2:].split("=")[0].replace("-", "_")
        if field not in known and field.removeprefix("no_") not in known:
            raise ValueError(
                f"unknown field {argument!r}; {paper} {name} has "
                + ", ".join(f"--{f}" for f in [*fields, *options])
            )
    # tyro prints the names of these fields as titles of the help
    asked = dataclasses.make_dataclass(
        "Asked", [("experiment", type(default)), ("run", Options)], frozen=True
    )
    given = tyro.cli(
        asked,
        default=asked(default, Options(pathlib.Path("runs") / paper / name)),
        args=arguments,
        prog=f"python -m experiments {paper} {name}",
        description=headers.find(paper, name).about,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return given.experiment, given.run


def _list(console: Console, papers: dict[str, headers.Paper]) -> None:
    table = Table("paper", "preset", "what it runs", "cost", "expected", show_lines=True)
    for paper in papers.values():
        for preset in paper.presets.values():
            table.add_row(paper.name, preset.name, preset.about, preset.cost, preset.expected)
    console.print(table)
    console.print("python -m experiments PAPER PRESET [--smoke] [--out DIR] [--FIELD VALUE ...]")


def _prepare_jax() -> None:
    """Creates one JAX device for each core, and caches compiled programs on disk."""
    import jax

    from jcollab import layout

    layout.use_compilation_cache()
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # jax has already initialized its devices
            jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


if __name__ == "__main__":
    sys.exit(main())
