"""The tables of README and documentation: ``python -m experiments tables [--add DIR ...]``.

All tables are computed from the headers of the experiments and from the summaries in
``docs/results``, so that they show what was measured. Claims are recomputed from the rows of each
summary. A table is written between two comments, ``<!-- table NAME ... -->`` and
``<!-- end of table -->``.
"""

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import tyro

from experiments import headers, summaries

ROOT = pathlib.Path(__file__).parent.parent
TABLE = re.compile(r"(<!-- table (\w+).*?-->\n).*?(<!-- end of table -->)", re.S)


@dataclasses.dataclass(frozen=True)
class Options:
    """Writes the tables of README and documentation.

    Attributes:
        add: folders of finished runs; their summaries are copied into docs/results first.
        name: suffix of the file name, for a run whose fields differ from those of its preset.
        without_rows: omits the rows of results from the copies, for summaries above 60 kB; the
            tables need the claims only.
    """

    add: tuple[pathlib.Path, ...] = ()
    name: str = ""
    without_rows: bool = False


def main(arguments: Sequence[str]) -> list[pathlib.Path]:
    """Adds summaries, writes all tables, and returns the files that changed.

    Raises:
        ValueError: if a run is unfinished, or its configuration does not fit its preset; see
            :func:`experiments.summaries.add`.
    """
    options = tyro.cli(Options, args=list(arguments), prog="python -m experiments tables")
    if options.name and len(options.add) != 1:
        raise ValueError(f"name is for one run, got {len(options.add)} runs to add")
    changed = [
        summaries.add(run, name=options.name, without_rows=options.without_rows)
        for run in options.add
    ]
    for path in sorted(summaries.FOLDER.rglob("*.json")):
        summary = summaries.read(path)
        summaries.check(summary, path)
        claims = summaries.claims_of(summary, path)
        if len(claims) != len(summary["claims"]) or not all(
            map(summaries.same_claim, claims, summary["claims"])
        ):
            changed += _write(path, summaries.dumps(summary | {"claims": claims}))
    for path, text in render().items():
        changed += _write(path, text)
    return changed


def render() -> dict[pathlib.Path, str]:
    """Returns the text of every file with a table."""
    papers = headers.papers()
    runs = {name: summaries.of_paper(paper) for name, paper in papers.items()}
    files = [ROOT / "README.md", ROOT / "docs" / "results.md"]
    files += sorted((ROOT / "experiments").glob("*/README.md"))

    def table(path: pathlib.Path, name: str) -> str:
        if name == "papers":
            return papers_table(papers, runs)
        if name == "headlines":
            return headlines_table(papers, runs)
        paper = path.parent.name
        if name == "claims":
            return claims_tables(papers[paper], runs[paper])
        if name == "presets":
            return presets_table(papers[paper], runs[paper])
        raise ValueError(
            f"{path}: table must be papers, headlines, claims or presets, got {name!r}"
        )

    def filled(path: pathlib.Path) -> str:
        def put(match: re.Match[str]) -> str:
            return f"{match[1]}\n{table(path, match[2]).strip()}\n\n{match[3]}"

        return TABLE.sub(put, path.read_text())

    return {path: filled(path) for path in files}


def papers_table(papers: dict[str, headers.Paper], runs: dict[str, Any]) -> str:
    """Returns a row for each paper: import, preset to begin with, true claims, notebooks."""
    columns = ("paper", "import", "first preset", "true claims", "notebook")
    rows = []
    for paper in papers.values():
        link = f" ([{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))" if paper.arxiv else ""
        line = [
            paper.title + link,
            ", ".join(f"`{name.strip()}`" for name in paper.imports.split(",")),
            f"`{paper.name} {paper.preset}`",
            f"[{_count(*runs[paper.name].values())}](experiments/{paper.name}/README.md#claims)",
            ", ".join(f"[{_spoken(n)}](colabs/{n}.ipynb)" for n in paper.notebooks),
        ]
        rows.append(line)
    return markdown(columns, rows)


def headlines_table(papers: dict[str, headers.Paper], runs: dict[str, Any]) -> str:
    """Returns a row for each paper: its true claims, and one claim of its first preset."""
    page = "../experiments/{}/README.md"
    rows = [
        [f"[{paper.title}]({page.format(paper.name)})"]
        + [f"[{_count(*runs[paper.name].values())}]({page.format(paper.name)}#claims)"]
        + [cell(chosen[part]) for part in ("claim", "expected", "measured")]
        for paper in papers.values()
        if (chosen := headline(paper, runs[paper.name]))
    ]
    return markdown(("paper", "true claims", "one of them", "expected", "measured"), rows)


def headline(paper: headers.Paper, runs: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the claim of the first preset that the paper's header names; default: the first.

    Raises:
        ValueError: if the summary does not contain the claim.
    """
    claims = runs.get(paper.preset, {"claims": []})["claims"]
    matching = [claim for claim in claims if claim["claim"].startswith(paper.claim)]
    if claims and not matching:
        raise ValueError(
            f"{paper.name}: Claim must begin a claim of {paper.preset}, got {paper.claim!r}"
        )
    return matching[0] if matching else None


def claims_tables(paper: headers.Paper, runs: dict[str, Any]) -> str:
    """Returns the claims of a paper, one table for each of its runs."""
    columns = ("claim", "expected", "measured", "true")
    parts = []
    for stem, run in runs.items():
        where = "{}, jax {jax}, Python {python}"
        where = where.format(summaries.hardware(run["versions"]), **run["versions"])
        default = summaries.default_config(paper.name, run["preset"])
        command = summaries.command(run, default)
        parts.append(f"**{stem}**: {_count(run)}; `{command}` on {where}.")
        rows = [
            [cell(claim[part]) for part in columns[:3]] + ["yes" if claim["holds"] else "**no**"]
            for claim in run["claims"]
        ]
        parts.append(markdown(columns, rows))
    return "\n\n".join(parts)


def presets_table(paper: headers.Paper, runs: dict[str, Any]) -> str:
    """Returns a row for each preset of a paper."""
    columns = ("preset", "from", "what it runs", "cost", "expected", "true claims")
    rows = []
    for preset in paper.presets.values():
        line = [
            f"`{preset.name}`",
            cell(re.sub(r"^.*arXiv [\d.]+\W*", "", preset.source)),
            cell(preset.about),
            cell(preset.cost),
            cell(preset.expected),
            _count(runs[preset.name]) if preset.name in runs else "not run in full",
        ]
        rows.append(line)
    return markdown(columns, rows)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Returns the text of a cell of a table; numbers have four digits."""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = "" if value is None else str(value)
    return re.sub(r"([|*\[\]])", r"\\\1", text).replace("<", "&lt;").replace("\n", " ")


def _count(*runs: dict[str, Any]) -> str:
    claims = [claim for run in runs for claim in run["claims"]]
    return f"{sum(claim['holds'] for claim in claims)} of {len(claims)}"


def _spoken(notebook: str) -> str:
    return notebook.partition("_")[2].replace("_", " ")


def _write(path: pathlib.Path, text: str) -> list[pathlib.Path]:
    if path.exists() and path.read_text() == text:
        return []
    path.write_text(text)
    return [path]
