"""One page for the results of runs: ``python -m experiments report DIR ... [--out FILE]``."""

from __future__ import annotations

import base64
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import jinja2
import tyro

from experiments import contract

TEMPLATE = pathlib.Path(__file__).parent / "report.html"


@dataclasses.dataclass(frozen=True)
class Options:
    """Results of runs, as one page of HTML that needs no server and no other file.

    Attributes:
        folders: of runs, or folders that hold some at any depth.
        out: the page.
        title: of the page.
    """

    folders: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional]
    out: pathlib.Path = pathlib.Path("report.html")
    title: str = "Results"


def main(arguments: Sequence[str]) -> pathlib.Path:
    """Writes the page and returns its path.

    Raises:
        ValueError: if no folder is given, or a folder holds no results.
    """
    options = tyro.cli(Options, args=list(arguments), prog="python -m experiments report")
    if not options.folders:
        raise ValueError("DIR must be at least one folder with results, got none")
    found = [path for folder in options.folders for path in _summaries(folder)]
    page = render([_run(path) for path in dict.fromkeys(found)], options.title)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    return options.out


def render(runs: Sequence[dict[str, Any]], title: str) -> str:
    """The page."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=_Empty)
    environment.filters["cell"] = cell
    return environment.from_string(TEMPLATE.read_text()).render(runs=runs, title=title)


class _Empty(jinja2.Undefined):
    """A value that a row has not."""

    def __str__(self) -> str:
        return ""


def _summaries(folder: pathlib.Path) -> list[pathlib.Path]:
    found = sorted(folder.rglob("summary.json"))
    if not found:
        raise ValueError(f"DIR must hold a summary.json, {folder} has none")
    return found


def _run(path: pathlib.Path) -> dict[str, Any]:
    """What the page says of a run."""
    try:
        summary = json.loads(path.read_text())
        name = f"{summary['experiment']} {summary['preset']}"
        rows, claims = summary["results"], summary["claims"]
        config, versions = summary["config"], summary["versions"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the summary of a run: {error!r}") from None
    known = contract.PAPERS if summary["experiment"] in contract.PAPERS else ()
    presets = contract.presets(summary["experiment"]) if known else {}
    preset = presets.get(summary["preset"])
    return {
        "name": name,
        "about": preset.about if preset else "",
        "command": command(summary, preset),
        "folder": str(path.parent),
        "results": rows,
        "columns": list(dict.fromkeys(column for row in rows for column in row)),
        "claims": claims,
        "held": sum(claim["holds"] for claim in claims),
        "config": config,
        "versions": versions,
        "interrupted": summary.get("interrupted", False),
        "figures": [
            {"name": file.stem, "data": base64.b64encode(file.read_bytes()).decode()}
            for file in sorted(path.parent.glob("*.png"))
        ],
    }


def command(summary: dict[str, Any], preset: Any) -> str:
    """The command that gives these results: what differs from the preset is spelled out."""
    from jcollab.run_log import plain

    words = ["python -m experiments", summary["experiment"], summary["preset"]]
    default = plain(dataclasses.asdict(preset.config)) if preset else {}
    for name, value in summary["config"].items():
        if value != default.get(name, value):
            several = value if isinstance(value, list) else [value]
            words += [f"--{name}", *dict.fromkeys(map(str, several))]
    return " ".join(words)


def cell(value: Any) -> str:
    """Text for a cell: numbers with four digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
