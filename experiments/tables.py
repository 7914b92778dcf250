"""The tables of README and documentation: ``python -m experiments tables [--add DIR ...]``.

They are made of the headers of the experiments and of the summaries in ``docs/results`` alone, so
that they show what was measured. Claims are computed anew from the rows of each summary. A table
stands between two comments, ``<!-- table NAME ... -->`` and ``<!-- end of table -->``.
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
    """Makes the tables of README and documentation anew.

    Attributes:
        add: folders of finished runs, whose summaries are copied into docs/results first.
        name: put behind the name of the preset in the name of the file, for a run with other
            fields.
        without_rows: leaves the rows of results out of what is added, for summaries that are larger
            than 60 kB; the tables are made of the claims.
    """

    add: tuple[pathlib.Path, ...] = ()
    name: str = ""
    without_rows: bool = False


def main(arguments: Sequence[str]) -> list[pathlib.Path]:
    """Adds the summaries that are to be added, writes the files and returns those that changed.

    Raises:
        ValueError: if a summary is of no finished run, or of a configuration that the preset no
            longer has; see :func:`experiments.summaries.add`.
    """
    options = tyro.cli(Options, args=list(arguments), prog="python -m experiments tables")
    if options.name and len(options.add) != 1:
        raise ValueError(f"name is for one run that is added, got {len(options.add)}")
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
    """The text of every file with a table."""
    papers = headers.papers()
    runs = {name: summaries.of_paper(paper) for name, paper in papers.items()}
    files = [ROOT / "README.md", ROOT / "docs" / "results.md"]
    files += sorted((ROOT / "experiments").glob("*/README.md"))

    def table(path: pathlib.Path, name: str) -> str:
        if name == "papers":
            return papers_table(papers, runs)
        if name == "headlines":
            return headlines_table(papers, runs)
        if name == "runs":
            return runs_table(papers, runs)
        if name == "claims":
            return claims_sections(papers, runs)
        if name == "presets":
            paper = path.parent.name
            return presets_table(papers[paper], runs[paper])
        raise ValueError(
            f"{path}: table must be papers, headlines, runs, claims or presets, got {name!r}"
        )

    def filled(path: pathlib.Path) -> str:
        def put(match: re.Match[str]) -> str:
            return f"{match[1]}\n{table(path, match[2]).strip()}\n\n{match[3]}"

        return TABLE.sub(put, path.read_text())

    return {path: filled(path) for path in files}


def papers_table(papers: dict[str, headers.Paper], runs: dict[str, Any]) -> str:
    """A row for each paper: import, preset to begin with, claims that hold, notebooks."""
    columns = ("paper", "import", "first preset", "claims that hold", "notebook")
    rows = []
    for paper in papers.values():
        link = f" ([{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))" if paper.arxiv else ""
        claims = [claim for run in runs[paper.name].values() for claim in run["claims"]]
        line = [
            paper.title + link,
            ", ".join(f"`{name.strip()}`" for name in paper.imports.split(",")),
            f"`{paper.name} {paper.preset}`",
            f"[{_count(claims)}](docs/results.md#{paper.name})",
            ", ".join(f"[{_spoken(n)}](colabs/{n}.ipynb)" for n in paper.notebooks),
        ]
        rows.append(line)
    return markdown(columns, rows)


def headlines_table(papers: dict[str, headers.Paper], runs: dict[str, Any]) -> str:
    """A row for each paper: one claim of its first preset."""
    rows = [
        [f"[{paper.title}](#{paper.name})", f"`{paper.name} {paper.preset}`"]
        + [cell(chosen[part]) for part in ("claim", "expected", "measured")]
        for paper in papers.values()
        if (chosen := headline(paper, runs[paper.name]))
    ]
    return markdown(("paper", "preset", "claim", "expected", "measured"), rows)


def headline(paper: headers.Paper, runs: dict[str, Any]) -> dict[str, Any] | None:
    """The claim of the paper's first preset that its header names, by default the first one.

    Raises:
        ValueError: if the header names a claim that the summary does not contain.
    """
    claims = runs.get(paper.preset, {"claims": []})["claims"]
    matching = [claim for claim in claims if claim["claim"].startswith(paper.claim)]
    if claims and not matching:
        raise ValueError(
            f"{paper.name}: Claim must begin a claim of {paper.preset}, got {paper.claim!r}"
        )
    return matching[0] if matching else None


def runs_table(papers: dict[str, headers.Paper], runs: dict[str, Any]) -> str:
    """A row for each preset and for each committed run of it."""
    columns = ("paper", "run", "what it runs", "claims that hold")
    rows = []
    for paper in papers.values():
        for preset in paper.presets.values():
            own = {s: run for s, run in runs[paper.name].items() if run["preset"] == preset.name}
            for stem, run in own.items() or [(preset.name, None)]:
                line = [
                    paper.title,
                    f"[{stem}](#{paper.name})" if run else stem,
                    cell(preset.about),
                    _count(run["claims"]) if run else "not run in full",
                ]
                rows.append(line)
    return markdown(columns, _without_repeats(rows))


def claims_sections(papers: dict[str, headers.Paper], runs: dict[str, Any]) -> str:
    """A section for each paper, with a table of claims for each of its runs."""
    columns = ("claim", "expected (paper's number)", "measured", "holds")
    parts = []
    for paper in papers.values():
        if runs[paper.name]:
            parts.append(f"## {paper.title} {{#{paper.name}}}")
            if paper.arxiv:
                parts.append(f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})")
        for stem, run in runs[paper.name].items():
            where = f"{summaries.hardware(run['versions'])}, {_software(run['versions'])}"
            default = summaries.default_config(paper.name, run["preset"])
            command = summaries.command(run, default)
            parts.append(f"### {stem}\n\n`{command}`, on {where}:")
            rows = [
                [cell(claim[part]) for part in ("claim", "expected", "measured")]
                + ["yes" if claim["holds"] else "**no**"]
                for claim in run["claims"]
            ]
            parts.append(markdown(columns, rows))
    return "\n\n".join(parts)


def presets_table(paper: headers.Paper, runs: dict[str, Any]) -> str:
    """A row for each preset of a paper."""
    columns = ("preset", "from", "what it runs", "takes", "expected", "claims that hold")
    rows = []
    for preset in paper.presets.values():
        claims = runs[preset.name]["claims"] if preset.name in runs else None
        line = [
            f"`{preset.name}`",
            cell(re.sub(r"^.*arXiv [\d.]+\W*", "", preset.source)),
            cell(preset.about),
            cell(preset.cost),
            cell(preset.expected),
            "not run in full" if claims is None else _count(claims),
        ]
        rows.append(line)
    return markdown(columns, rows)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Text for a cell of a table; numbers have four digits."""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = "" if value is None else str(value)
    return re.sub(r"([|*<\[\]])", r"\\\1", text).replace("\n", " ")


def _without_repeats(rows: list[list[str]]) -> list[list[str]]:
    """The first column only where it differs from the row above."""
    names = [row[0] for row in rows]
    return [
        ["" if i and name == names[i - 1] else name, *row[1:]]
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    ]


def _count(claims: Sequence[dict[str, Any]]) -> str:
    return f"{sum(claim['holds'] for claim in claims)} of {len(claims)}"


def _software(versions: dict[str, str]) -> str:
    return f"jax {versions['jax']}, Python {versions['python']}"


def _spoken(notebook: str) -> str:
    return notebook.partition("_")[2].replace("_", " ")


def _write(path: pathlib.Path, text: str) -> list[pathlib.Path]:
    if path.exists() and path.read_text() == text:
        return []
    path.write_text(text)
    return [path]
