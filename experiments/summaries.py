"""Committed summaries of finished runs: ``docs/results/PAPER/PRESET.json``."""

import dataclasses
import json
import math
import pathlib
import re
import shlex
from typing import Any

from experiments import contract, headers
from jcollab.training.records import plain

MOST_BYTES = 60_000
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
FOLDER = pathlib.Path(__file__).parent.parent / "docs" / "results"


def add(
    run: pathlib.Path,
    folder: pathlib.Path | None = None,
    *,
    name: str = "",
    without_rows: bool = False,
) -> pathlib.Path:
    """Copies the summary of a run into the folder of summaries, with recomputed claims.

    Paths in configurations become DIR or FILE; of the platform, system and processor remain.

    Args:
        run: folder of the run.
        folder: folder of summaries; None for docs/results.
        name: suffix of the file name, for a run whose fields differ from its preset.
        without_rows: omits the rows of results, for summaries that are too large.

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
    summary["claims"] = claims_of(summary, path)
    summary["config"] = {field: _without_path(v) for field, v in summary["config"].items()}
    summary["versions"]["platform"] = _system(summary["versions"]["platform"])
    if without_rows:
        summary |= {"results": [], "rows_left_out": len(summary["results"])}
    text = dumps(summary)
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"{path} must be at most {MOST_BYTES} bytes, got {len(text)}; --without_rows omits "
            "the rows of results"
        )
    if name and not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"name must be made of a-z, 0-9 and _, got {name!r}")
    stem = f"{summary['preset']}_{name}" if name else summary["preset"]
    new = (folder or FOLDER) / summary["experiment"] / f"{stem}.json"
    new.parent.mkdir(parents=True, exist_ok=True)
    new.write_text(text)
    return new


def dumps(summary: dict[str, Any]) -> str:
    """Returns the text of a file."""
    return json.dumps(summary, indent=1, allow_nan=False) + "\n"


def read(path: pathlib.Path) -> dict[str, Any]:
    """Reads a summary; ValueError if the file is not one."""
    try:
        summary = json.loads(path.read_text())
        parts = [summary[part] for part in ("experiment", "preset", "config", "versions")]
        parts += [summary["results"], summary["claims"], summary["versions"]["devices"]]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the summary of a run: {error!r}") from None
    return summary


def check(summary: dict[str, Any], path: pathlib.Path) -> None:
    """Raises ValueError unless the configuration has exactly the current fields of the preset."""
    name = f"{summary['experiment']} {summary['preset']}"
    config = contract.configure(summary["experiment"], summary["preset"])
    fields = [field.name for field in dataclasses.fields(config)]
    if gone := [field for field in summary["config"] if field not in fields]:
        raise ValueError(
            f"{path}: {name} no longer has the field {', '.join(gone)}; run the preset again"
        )
    if new := [field for field in fields if field not in summary["config"]]:
        raise ValueError(
            f"{path}: {name} has the new field {', '.join(new)}; run the preset again, or add the "
            "value that the run had"
        )


def claims_of(summary: dict[str, Any], path: pathlib.Path) -> list[dict[str, Any]]:
    """Recomputes the claims of a summary from its rows.

    Without rows, and for a grid of runs, whose rows are means, the recorded claims are returned.

    Raises:
        ValueError: if the experiment cannot compute claims from these rows.
    """
    module = contract.load(summary["experiment"], summary["preset"])
    default = default_config(summary["experiment"], summary["preset"])
    config = summary["config"]
    if not summary["results"] or any(
        isinstance(value, list) and isinstance(default[field], (int, float))
        for field, value in config.items()
    ):
        return summary["claims"]
    try:
        fields = {field: _frozen(value) for field, value in config.items()}
        claims = [*module.claims(module.Config(**fields), summary["results"])]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: rows are not those of {summary['experiment']} {summary['preset']} as it is "
            f"now ({error!r}); run the preset again"
        ) from None
    return [plain(dataclasses.asdict(claim)) for claim in claims]


def same_claim(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Returns whether two claims are equal up to rounding, which differs between processors.

    Numbers may differ by a relative 1e-10, numbers in a string by one in their last digit.
    """
    if any(one[part] != other[part] for part in ("claim", "expected", "holds")):
        return False
    ours, theirs = one["measured"], other["measured"]
    if not isinstance(ours, str) or not isinstance(theirs, str):
        numbers = all(isinstance(value, (int, float)) for value in (ours, theirs))
        return ours == theirs or (numbers and math.isclose(ours, theirs, rel_tol=1e-10))
    pairs = zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=False)
    return NUMBER.split(ours) == NUMBER.split(theirs) and all(
        abs(float(a) - float(b)) <= 1.01 * _last_digit(b) for a, b in pairs
    )


def _last_digit(number: str) -> float:
    """Returns the value of one unit in the last digit, ``0.01`` for ``"1.25"``."""
    digits, _, exponent = number.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def default_config(paper: str, preset: str) -> dict[str, Any]:
    """Returns the configuration of a preset in the form of a summary."""
    return plain(dataclasses.asdict(contract.configure(paper, preset)))


def command(summary: dict[str, Any], default: dict[str, Any]) -> str:
    """Returns the command that repeats a run, with the fields that differ from ``default``."""
    words = ["python", "-m", "experiments", summary["experiment"], summary["preset"]]
    for name, value in summary["config"].items():
        if value != default.get(name, value):
            several = value if isinstance(value, list) else [value]
            words += [f"--{name}", *dict.fromkeys(map(str, several))]
    return shlex.join(words)


def hardware(versions: dict[str, str]) -> str:
    """Describes the hardware of a run, ``"2 CPU cores"`` or ``"4 x NVIDIA H100"``."""
    count, _, device = versions["devices"].partition(" x ")
    kind, _, name = device.partition(":")
    if kind != "cpu":
        return f"{count} x {name}"
    if "processors" in versions:
        return f"{versions['processors']} CPU cores"
    return f"{count} CPU devices"  # older runs did not record cores


def of_paper(paper: headers.Paper, folder: pathlib.Path | None = None) -> dict[str, dict[str, Any]]:
    """Reads the summaries of a paper by file stem, in the order of its presets.

    Raises:
        ValueError: if a file is not named after its preset, or does not fit it.
    """
    runs = {}
    for path in sorted(((folder or FOLDER) / paper.name).glob("*.json")):
        summary = read(path)
        check(summary, path)
        preset = summary["preset"]
        if summary["experiment"] != paper.name or path.stem[: len(preset)] != preset:
            name = f"{summary['experiment']} {preset}"
            raise ValueError(f"{path} must be named after its preset, {name}")
        runs[path.stem] = summary
    order = list(paper.presets)
    return dict(sorted(runs.items(), key=lambda item: (order.index(item[1]["preset"]), item[0])))


def _frozen(value: Any) -> Any:
    """Converts lists to tuples, as in configurations."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _without_path(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_path(item) for item in value]
    if isinstance(value, str) and pathlib.PurePath(value).is_absolute():
        return "FILE" if pathlib.PurePath(value).suffix else "DIR"
    return value


def _system(platform: str) -> str:
    """Extracts system and processor from ``platform.platform()``."""
    known = re.search(r"x86_64|aarch64|arm64|AMD64", platform)
    return " ".join([platform.split("-")[0], *([known.group()] if known else [])])
