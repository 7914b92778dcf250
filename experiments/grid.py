"""Grids of runs: several values for numeric fields, one run for each combination, one table."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

Point = dict[str, str]


def expand(arguments: Sequence[str], default: Any) -> list[tuple[Point, list[str]]]:
    """Expands lists of values for numeric fields into the arguments of each run.

    ``--learning_rate 0.1 0.2 --seed 0 1 2`` gives six runs. Fields with tuples are not expanded.

    Args:
        arguments: arguments after the names of paper and preset.
        default: the configuration that they change.

    Returns:
        For each combination, the values by field and the arguments; one entry without fields if
        there is no list.
    """
    numbers = {
        field.name
        for field in dataclasses.fields(default)
        if isinstance(getattr(default, field.name), (int, float))
        and not isinstance(getattr(default, field.name), bool)
    }
    several: dict[str, list[str]] = {}
    rest: list[str] = []
    starts = [0, *(i for i, a in enumerate(arguments) if i and a.startswith("--")), len(arguments)]
    for start, end in itertools.pairwise(starts):
        option, *values = arguments[start:end] or [""]
        name = option[2:].replace("-", "_")
        if len(values) > 1 and name in numbers:
            several[name] = values
        else:
            rest += arguments[start:end]
    for name, values in several.items():
        if len(set(values)) < len(values):
            raise ValueError(f"{name} must not be given the same value twice, got {values}")
    runs = []
    for values in itertools.product(*several.values()):
        point = dict(zip(several, values, strict=True))
        given = [part for name, value in point.items() for part in (f"--{name}", value)]
        runs.append((point, rest + given))
    return runs


def label(point: Point) -> str:
    """Returns the name of a run's folder, ``learning_rate=0.1,seed=0``."""
    return ",".join(f"{name}={value}" for name, value in point.items())


def unfinished(out: pathlib.Path) -> bool:
    """Returns whether the grid in a folder was interrupted, so that finished runs are reused."""
    whole = out / "summary.json"
    return not whole.exists() or json.loads(whole.read_text())["interrupted"]


def finished(folder: pathlib.Path, config: Any) -> dict[str, Any] | None:
    """Returns the summary of a finished run of this configuration, or None."""
    from jcollab.training.records import plain

    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else None
    if not summary or summary["interrupted"]:
        return None
    return summary if summary["config"] == plain(dataclasses.asdict(config)) else None


def combine(points: Sequence[Point], summaries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Combines the rows of all runs, with mean and standard deviation (N - 1) over seeds.

    Args:
        points: values by field, of each run.
        summaries: the summary of each run.

    Returns:
        A row for each row of a run and each point of the grid without seeds. Numbers are means;
        ``NAME_std`` is added if they differ between seeds.
    """
    import pandas as pd  # slow to import

    records = []
    for point, summary in zip(points, summaries, strict=True):
        fields = {name: json.loads(value) for name, value in point.items()}
        for i, row in enumerate(summary["results"]):
            rest = {name: value for name, value in row.items() if name not in fields}
            records.append({"row": i, **fields, **rest})
    table = pd.DataFrame(records)
    if table.empty:
        return []
    by = ["row", *(name for name in points[0] if name != "seed")]
    rows = []
    for _, group in table.groupby(by, sort=False):
        row: dict[str, Any] = {}
        for name in table.columns.drop(["row", "seed"], errors="ignore"):
            values = group[name].dropna()
            row[name] = values.iloc[0] if len(values) else None
            if values.nunique() > 1 and pd.api.types.is_numeric_dtype(values):
                row |= {name: float(values.mean()), f"{name}_std": float(values.std())}
        rows.append(row)
    return rows


def shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Formats mean and standard deviation in one cell."""
    return [
        {
            name: f"{value:.3g} ± {row[f'{name}_std']:.1g}" if f"{name}_std" in row else value
            for name, value in row.items()
            if not name.endswith("_std") or name.removesuffix("_std") not in row
        }
        for row in rows
    ]


def write(
    out: pathlib.Path, points: Sequence[Point], summaries: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Writes a joint ``summary.json``, in which each claim names its run."""
    from jcollab.training.records import plain

    claims = [
        claim | {"claim": f"{claim['claim']} ({label(point)})"}
        for point, summary in zip(points, summaries, strict=True)
        for claim in summary["claims"]
    ]
    whole = summaries[0] | {
        "config": summaries[0]["config"] | {name: [p[name] for p in points] for name in points[0]},
        "results": plain(combine(points, summaries)),
        "claims": claims,
        "interrupted": any(summary["interrupted"] for summary in summaries),
    }
    (out / "summary.json").write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n")
    return whole
