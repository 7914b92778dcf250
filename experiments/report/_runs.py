"""Reader of the folders of runs."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments import headers, summaries
from experiments.report._logs import Curve, read_log

CLAIM = {"claim", "expected", "measured", "holds"}


@dataclasses.dataclass(frozen=True)
class Graph:
    """A graph with the positions of its clients in a drawing.

    Attributes:
        edges: pairs of clients.
        positions: a pair of coordinates for each client.
    """

    edges: list[list[int]]
    positions: list[list[float]]


@dataclasses.dataclass(frozen=True)
class Run:
    """The content of the page for one run.

    Attributes:
        name: distinct name: paper, preset and, if a preset has several runs, the folder.
        short: the part of the name that distinguishes runs of one preset; empty for a single run.
        group: paper and preset.
        folder: folder of the run.
        about: description of the preset; empty if the preset is unknown.
        command: the command that repeats the run; empty if the preset is unknown.
        config: value of each field.
        versions: versions of packages, and the machine.
        results: rows.
        claims: dictionaries with ``claim``, ``expected``, ``measured`` and ``holds``.
        interrupted: whether the run ended early.
        figures: name and base64 data of each PNG file.
        curves: curves of the log.
        graphs: graphs by the name that the tag ``topology`` refers to.
    """

    name: str
    short: str
    group: str
    folder: str
    about: str
    command: str
    config: dict[str, Any]
    versions: dict[str, Any]
    results: list[dict[str, Any]]
    claims: list[dict[str, Any]]
    interrupted: bool
    figures: list[tuple[str, str]]
    curves: list[Curve]
    graphs: dict[str, Graph]

    @property
    def num_holding(self) -> int:
        """Number of true claims."""
        return sum(bool(claim["holds"]) for claim in self.claims)


def read_runs(folders: Sequence[pathlib.Path]) -> list[Run]:
    """Reads all runs in some folders.

    Args:
        folders: folders of runs, or folders that contain such folders at any depth.

    Raises:
        ValueError: if there is no folder, a folder contains no run, or a file is malformed.
    """
    if not folders:
        raise ValueError("FOLDER must be at least one folder with results, got none")
    by_path: dict[pathlib.Path, pathlib.Path] = {}
    for folder in folders:
        summaries = sorted(folder.rglob("summary.json"))
        if not summaries:
            raise ValueError(f"FOLDER must contain a summary.json at some depth, {folder} has none")
        for path in summaries:
            by_path.setdefault(path.parent.resolve(), path.parent)
    read = [_read_summary(folder / "summary.json") for folder in by_path.values()]
    groups = [f"{summary['experiment']} {summary['preset']}" for summary in read]
    short: dict[pathlib.Path, str] = {}
    for name in dict.fromkeys(groups):
        short |= short_names(
            [place for place, own in zip(by_path, groups, strict=True) if own == name]
        )
    return [
        _read_run(folder, summary, group, short[place])
        for (place, folder), summary, group in zip(by_path.items(), read, groups, strict=True)
    ]


def short_names(folders: Sequence[pathlib.Path]) -> dict[pathlib.Path, str]:
    """Returns the parts of the paths that distinguish folders; empty for a single folder.

    Args:
        folders: distinct absolute paths.
    """
    if len(folders) == 1:
        return {folders[0]: ""}
    parent = os.path.commonpath(folders)
    parts = [folder.relative_to(parent).parts for folder in folders]
    while all(len(one) > 1 for one in parts) and len({one[-1] for one in parts}) == 1:
        parts = [one[:-1] for one in parts]
    names = ["/".join(one) or f"{folder.name}/" for one, folder in zip(parts, folders, strict=True)]
    return dict(zip(folders, names, strict=True))


def read_graphs(path: pathlib.Path) -> dict[str, Graph]:
    """Reads ``graphs.json``. Returns no graphs for a missing file.

    Raises:
        ValueError: if the file is not JSON, or a graph has no positions or an invalid edge.
    """
    if not path.exists():
        return {}
    graphs = {}
    for name, graph in _read_json(path).items():
        try:
            places = [[float(x), float(y)] for x, y in graph["positions"]]
            edges = [[int(i), int(j)] for i, j in graph["edges"]]
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path}: graph {name!r} must have 'edges' [[i, j], ...] and 'positions' "
                f"[[x, y], ...], got {str(graph)[:80]}"
            ) from None
        strange = [edge for edge in edges if not all(0 <= i < len(places) for i in edge)]
        if strange or not places:
            raise ValueError(
                f"{path}: edges of graph {name!r} must join clients 0 to {len(places) - 1}, "
                f"which have positions, got {strange}"
            )
        graphs[name] = Graph(edges, places)
    return graphs


def _read_run(folder: pathlib.Path, summary: dict[str, Any], group: str, short: str) -> Run:
    """Reads the other files of a run."""
    about, default = _preset(summary["experiment"], summary["preset"])
    return Run(
        name=f"{group} ({short})" if short else group,
        short=short,
        group=group,
        folder=str(folder),
        about=about,
        command=summaries.command(summary, default) if default else "",
        config=summary["config"],
        versions=summary["versions"],
        results=summary["results"],
        claims=summary["claims"],
        interrupted=bool(summary.get("interrupted", False)),
        figures=[
            (file.stem, base64.b64encode(file.read_bytes()).decode())
            for file in sorted(folder.glob("*.png"))
        ],
        curves=read_log(folder / "metrics.jsonl"),
        graphs=read_graphs(folder / "graphs.json"),
    )


def _read_summary(path: pathlib.Path) -> dict[str, Any]:
    summary = _read_json(path)
    kinds = {"experiment": str, "preset": str, "config": dict, "versions": dict}
    for name, kind in {**kinds, "results": list, "claims": list}.items():
        if not isinstance(summary.get(name), kind):
            raise ValueError(
                f"{path} is not the summary of a run: {name!r} must be a {kind.__name__}, "
                f"got {summary.get(name)!r}"
            )
    for row in summary["results"]:
        if not isinstance(row, dict):
            raise ValueError(
                f"{path} is not the summary of a run: a row of results must be a dict, got {row!r}"
            )
    for claim in summary["claims"]:
        if not isinstance(claim, dict) or not claim.keys() >= CLAIM:
            raise ValueError(
                f"{path} is not the summary of a run: a claim must be a dict with "
                f"{', '.join(sorted(CLAIM))}, got {claim!r}"
            )
    return summary


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must contain a JSON object, got {type(content).__name__}")
    return content


@functools.cache
def _preset(paper: str, name: str) -> tuple[str, dict[str, Any]]:
    """Returns the description and configuration of a preset; empty if the preset is unknown."""
    try:
        return headers.find(paper, name).about, summaries.default_config(paper, name)
    except Exception:  # the report must work if the experiment was removed or cannot be imported
        return "", {}
