"""Report of the results of runs: ``python -m experiments report FOLDER ... [--out FILE]``.

The report is a single HTML file that needs no server, no network and no other file: it contains
its styles, scripts, data and figures. The script of bokeh, which draws curves, is included once.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import jinja2
import markupsafe
import tyro

from experiments.report._panels import panels
from experiments.report._runs import Run, read_runs
from experiments.report._tables import cell, columns, comparisons, sort_value

FOLDER = pathlib.Path(__file__).parent
SCRIPTS = ("tables.js", "panels.js", "curves.js", "clients.js")


@dataclasses.dataclass(frozen=True)
class Options:
    """Writes the results of runs to one HTML page that needs no server and no other file.

    Attributes:
        folders: folders of runs, or folders that contain such folders at any depth.
        out: path of the page.
        title: title of the page.
    """

    folders: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional]
    out: pathlib.Path = pathlib.Path("report.html")
    title: str = "Results"


def main(arguments: Sequence[str]) -> pathlib.Path:
    """Writes the page and returns its path.

    Raises:
        ValueError: if no folder is given, a folder contains no run, or a file is malformed.
    """
    options = tyro.cli(Options, args=list(arguments), prog="python -m experiments report")
    page = render(read_runs(options.folders), options.title)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")
    return options.out


def render(runs: Sequence[Run], title: str) -> str:
    """Returns the page as a string.

    Args:
        runs: runs with distinct names.
        title: title of the page.
    """
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(FOLDER),
    )
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "separators": (",", ":"),
        "sort_keys": False,
    }
    environment.filters |= {"cell": cell, "sort_value": sort_value, "words": _words}
    drawn = panels(runs)
    return environment.get_template("page.html").render(
        title=title,
        runs=runs,
        groups=list(dict.fromkeys(run.group for run in runs)),
        columns=columns([row for run in runs for row in run.results]),
        comparisons=comparisons(runs),
        panels=drawn,
        style=_own("page.css"),
        scripts=[_own(name) for name in SCRIPTS],
        library=_library() if drawn else "",
    )


def _own(name: str) -> markupsafe.Markup:
    """Returns a file of this package, which needs no escaping."""
    return markupsafe.Markup((FOLDER / name).read_text(encoding="utf-8"))


def _library() -> markupsafe.Markup:
    """Returns the scripts of bokeh, which draw the curves."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh", "bokeh-api"], log_level="warn")
    return markupsafe.Markup("\n".join(resources.js_raw))


def _words(name: Any) -> str:
    """Returns an identifier as words."""
    return str(name).replace("_", " ")
