"""Several values for a field of a configuration: one run for each combination, and one table."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

Point = dict[str, str]


def expand(arguments: Sequence[str], default: Any) -> list[tuple[Point, list[str]]]:
    """Arguments of every run that lists of values ask for.

    A field that is one number may be given several: ``--learning_rate 0.1 0.2 --seed 0 1 2`` are
    six runs. Fields that are lists themselves stay as they are.

    Args:
        arguments: of the command line, after the names of paper and preset.
        default: the configuration that they change.

    Returns:
        The values by field, and the arguments with these values, for each combination; one entry
        without fields where no list is given.
    """
    numbers = {
        field.name
        for field in dataclasses.fields(default)
        if isinstance(getattr(default, field.name), (int, float))
        and not isinstance(getattr(default, field.name), bool)
    }
    groups: list[list[str]] = []  # an option with its values, or what stands before any
    for argument in arguments:
        if argument.startswith("--") or not groups:
            groups.append([argument])
        else:
            groups[-1].append(argument)
    several = {
        group[0][2:].replace("-", "_"): group[1:]
        for group in groups
        if len(group) > 2 and group[0][2:].replace("-", "_") in numbers
    }
    rest = [
        argument
        for group in groups
        if group[0][2:].replace("-", "_") not in several
        for argument in group
    ]
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
    """Name of a run's folder, ``learning_rate=0.1,seed=0``."""
    return ",".join(f"{name}={value}" for name, value in point.items())


def unfinished(out: pathlib.Path) -> bool:
    """Whether the runs in a folder were cut short, so that those that have ended count."""
    whole = out / "summary.json"
    return not whole.exists() or json.loads(whole.read_text())["interrupted"]


def finished(folder: pathlib.Path, config: Any) -> dict[str, Any] | None:
    """The summary of a run of this configuration that has ended; None if there is none."""
    from jcollab.training.records import plain

    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else None
    if not summary or summary["interrupted"]:
        return None
    return summary if summary["config"] == plain(dataclasses.asdict(config)) else None


def combine(points: Sequence[Point], summaries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of all runs, with mean and standard deviation (N - 1) over seeds.

    Args:
        points: values by field, of each run.
        summaries: what each run returned.

    Returns:
        A row for each row of a run and each point of the grid without its seeds. Numbers are means,
        with ``NAME_std`` beside where they differ between seeds.
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
    """The rows with mean and standard deviation in one cell."""
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
    """Writes ``summary.json`` of all runs together; its claims name the run that they are of."""
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
