"""The page of results: ``python -m experiments table [FOLDER] [--out FILE] [--add DIR ...]``.

Summaries of runs are kept in FOLDER as ``PAPER/PRESET.json``; the page is made of them alone, so
that it says what was measured. ``--add DIR`` copies the summary of a finished run there first.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Annotated, Any

import jinja2
import tyro

from experiments import contract, report

TEMPLATE = pathlib.Path(__file__).parent / "table.md"
MOST_BYTES = 60_000
TITLES = {
    "relaysgd": ("RelaySGD", "2110.04175"),
    "clipped_gossip": ("ClippedGossip", "2202.01545"),
    "optimal_averaging": ("Optimal averaging", "2110.12946"),
    "grad_align": ("Gradient alignment", "2106.13897"),
    "critical_params": ("Critical parameters", "2103.02351"),
    "dbat": ("D-BAT", "2202.04414"),
    "rep_sharing": ("Representation sharing", "2211.10943"),
    "flow_perturbations": ("Flow perturbations", "2108.07958"),
    "x2static": ("X2Static", "2106.04302"),
    "crosslingual": ("Cross-lingual sentences", "2105.13856"),
    "federated": ("Federated methods", None),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What was claimed and measured, as a page of Markdown made of committed summaries.

    Attributes:
        folder: of the summaries, PAPER/PRESET.json.
        out: the page.
        add: folders of finished runs, whose summaries are copied into the folder first. Claims are
            computed anew; paths in configurations become DIR or FILE, and of the platform system
            and processor stay.
        name: what the file's name has behind the preset's, for a run of a preset with other fields.
        without_rows: leaves the rows of results out of what is added, for summaries that are larger
            than 60 kB; the page is made of the claims.
    """

    folder: Annotated[pathlib.Path, tyro.conf.Positional] = pathlib.Path("docs/results")
    out: pathlib.Path = pathlib.Path("docs/results.md")
    add: tuple[pathlib.Path, ...] = ()
    name: str = ""
    without_rows: bool = False


def main(arguments: Sequence[str]) -> pathlib.Path:
    """Adds what is to be added, writes the page and returns its path.

    Raises:
        ValueError: if there is no summary, one is of no finished run, or is of a configuration that
            the preset no longer has; see :func:`check` and :func:`add`.
    """
    options = tyro.cli(Options, args=list(arguments), prog="python -m experiments table")
    if options.name and len(options.add) != 1:
        raise ValueError(f"name is for one run that is added, got {len(options.add)}")
    for run in options.add:
        add(run, options.folder, name=options.name, without_rows=options.without_rows)
    page = render(options.folder)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    return options.out


def add(
    run: pathlib.Path, folder: pathlib.Path, *, name: str = "", without_rows: bool = False
) -> pathlib.Path:
    """Copies the summary of a run into the folder of summaries, judged by the claims of today.

    Args:
        run: folder of the run.
        folder: of the summaries.
        name: put behind the name of the preset, for a run with other fields.
        without_rows: leaves the rows of results out.

    Returns:
        The new file, ``folder/PAPER/PRESET.json`` or ``PRESET_NAME.json``.

    Raises:
        ValueError: if the run was interrupted or computed no claims, its configuration does not fit
            the preset, or the file would be larger than 60 kB.
    """
    path = run / "summary.json"
    summary = read(path)
    if summary.get("interrupted") or not summary["claims"]:
        raise ValueError(f"{path} must be of a finished run with claims")
    check(summary, path)
    summary["claims"] = judged(summary, path)
    summary["config"] = {field: _without_path(v) for field, v in summary["config"].items()}
    summary["versions"]["platform"] = _system(summary["versions"]["platform"])
    if without_rows:
        summary |= {"results": [], "rows_left_out": len(summary["results"])}
    text = json.dumps(summary, indent=1, allow_nan=False) + "\n"
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"{path} must be at most {MOST_BYTES} bytes, got {len(text)}; --without_rows leaves "
            "the rows of results out"
        )
    if name and not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"name must be made of a-z, 0-9 and _, got {name!r}")
    stem = f"{summary['preset']}_{name}" if name else summary["preset"]
    new = folder / summary["experiment"] / f"{stem}.json"
    new.parent.mkdir(parents=True, exist_ok=True)
    new.write_text(text)
    return new


def read(path: pathlib.Path) -> dict[str, Any]:
    """A summary; ValueError if the file holds none."""
    try:
        summary = json.loads(path.read_text())
        parts = [summary[part] for part in ("experiment", "preset", "config", "versions")]
        parts += [summary["results"], summary["claims"], summary["versions"]["devices"]]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the summary of a run: {error!r}") from None
    return summary


def check(summary: dict[str, Any], path: pathlib.Path) -> None:
    """ValueError unless the configuration has the fields of the preset as it is now."""
    name = f"{summary['experiment']} {summary['preset']}"
    preset = contract.find(summary["experiment"], summary["preset"])
    fields = [field.name for field in dataclasses.fields(preset.config)]
    if gone := [field for field in summary["config"] if field not in fields]:
        raise ValueError(
            f"{path}: {name} has no field {', '.join(gone)} any more; run the preset again"
        )
    if new := [field for field in fields if field not in summary["config"]]:
        raise ValueError(
            f"{path}: {name} has got the field {', '.join(new)}; run the preset again, or add the "
            "value that the run had"
        )


def judged(summary: dict[str, Any], path: pathlib.Path) -> list[dict[str, Any]]:
    """What the experiment claims of the rows now; what is noted where it cannot be computed anew.

    That is so without rows, and for several runs together, whose rows are means.

    Raises:
        ValueError: if the rows are not what the experiment measures now.
    """
    from jcollab.run_log import plain

    preset = contract.find(summary["experiment"], summary["preset"])
    default = plain(dataclasses.asdict(preset.config))
    config = summary["config"]
    if not summary["results"] or any(
        isinstance(value, list) and isinstance(default[field], (int, float))
        for field, value in config.items()
    ):
        return summary["claims"]
    kind = type(preset.config)
    module = importlib.import_module(f"experiments.{summary['experiment']}.run").MODULES[kind]
    try:
        fields = {field: _frozen(value) for field, value in config.items()}
        claims = module.claims(kind(**fields), summary["results"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: rows are not those of {summary['experiment']} {summary['preset']} as it is "
            f"now ({error!r}); run the preset again"
        ) from None
    return [plain(dataclasses.asdict(claim)) for claim in claims]


def render(folder: pathlib.Path) -> str:
    """The page."""
    papers = []
    for paper in TITLES:
        runs = [_run(path) for path in sorted((folder / paper).glob("*.json"))]
        if runs:
            title, arxiv = TITLES[paper]
            papers.append({"paper": paper, "title": title, "arxiv": arxiv, "runs": runs})
    if not papers:
        raise ValueError(f"FOLDER must hold PAPER/PRESET.json, {folder} has none")
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cell"] = _cell
    environment.filters["plural"] = lambda count, word: f"{count} {word}{'' if count == 1 else 's'}"
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(papers=papers).rstrip() + "\n"


def _run(path: pathlib.Path) -> dict[str, Any]:
    summary = read(path)
    check(summary, path)
    if (summary["experiment"], summary["preset"]) != (
        path.parent.name,
        path.stem[: len(summary["preset"])],
    ):
        name = f"{summary['experiment']} {summary['preset']}"
        raise ValueError(f"{path} must be named after what it is of, {name}")
    preset = contract.find(summary["experiment"], summary["preset"])
    return {
        "name": path.stem,
        "about": preset.about,
        "command": report.command(summary, preset),
        "claims": summary["claims"],
        "held": sum(claim["holds"] for claim in summary["claims"]),
        "hardware": hardware(summary["versions"]),
        "software": f"jax {summary['versions']['jax']}, Python {summary['versions']['python']}",
    }


def hardware(versions: dict[str, str]) -> str:
    """What a run ran on, ``"2 CPU cores"`` or ``"4 x NVIDIA H100"``."""
    count, _, device = versions["devices"].partition(" x ")
    kind, _, name = device.partition(":")
    if kind != "cpu":
        return f"{count} x {name}"
    if "processors" in versions:
        return f"{versions['processors']} CPU cores"
    return f"{count} CPU devices"  # of older runs; one for each core, unless asked otherwise


def _frozen(value: Any) -> Any:
    """Lists as tuples, as configurations have them."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _without_path(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_path(item) for item in value]
    if isinstance(value, str) and pathlib.PurePath(value).is_absolute():
        return "FILE" if pathlib.PurePath(value).suffix else "DIR"
    return value


def _system(platform: str) -> str:
    """System and processor of ``platform.platform()``, without versions and names of kernels."""
    known = re.search(r"x86_64|aarch64|arm64|AMD64", platform)
    return " ".join([platform.split("-")[0], *([known.group()] if known else [])])


def _cell(value: Any) -> str:
    """Text for a cell of a Markdown table."""
    return re.sub(r"([|*<\[\]])", r"\\\1", report.cell(value)).replace("\n", " ")
