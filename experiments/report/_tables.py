"""Cells of tables, and differences between the configurations of runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from experiments.report._runs import Run

LONGEST = 60  # characters of a value that is not a number
MOST_RUNS = 6  # of different presets in one table


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Fields that differ between runs.

    Attributes:
        title: what the runs have in common.
        runs: names of the runs.
        rows: for each field, its name and its value in each run.
    """

    title: str
    runs: list[str]
    rows: list[tuple[str, list[str]]]


def cell(value: Any) -> str:
    """Returns the text of a cell: four digits of a number, the first entries of a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        large = 1000 <= abs(value) < 1e7
        return f"{value:.0f}" if large else f"{value:.4g}"
    if isinstance(value, list):
        return _shorten(", ".join(map(cell, value)), f" ({len(value)} values)")
    if isinstance(value, dict):
        return _shorten(json.dumps(value), "")
    return str(value)


def sort_value(value: Any) -> str:
    """Returns the sort key of a number; empty for another value."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return repr(value) if number else ""


def columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns all columns of the rows, in order of first appearance."""
    return list(dict.fromkeys(column for row in rows for column in row))


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Compares all runs if they are few, otherwise the runs of each preset."""
    if len(runs) <= MOST_RUNS:
        parts = {"All runs": list(runs)}
    else:
        names = dict.fromkeys(run.group for run in runs)
        parts = {name: [run for run in runs if run.group == name] for name in names}
    return [compare(title, part) for title, part in parts.items() if len(part) > 1]


def compare(title: str, runs: Sequence[Run]) -> Comparison:
    """Returns the fields of configuration and environment with values that differ."""
    one_preset = len({run.group for run in runs}) == 1
    tables = [
        run.config | {f"environment: {name}": value for name, value in run.versions.items()}
        for run in runs
    ]
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        texts = {json.dumps(table[name]) if name in table else "" for table in tables}
        if len(texts) > 1:
            rows.append((name, [_entry(table, name) for table in tables]))
    return Comparison(title, [run.short if one_preset else run.name for run in runs], rows)


def _entry(table: dict[str, Any], name: str) -> str:
    if name not in table:
        return "no such field"
    return "none" if table[name] is None else cell(table[name])


def _shorten(text: str, more: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip(", ") + " …" + more
