import dataclasses
import json
import re

import pytest

from experiments import execution, headers, summaries, tables
from experiments.__main__ import main
from experiments.dbat import theorem
from tests import ROOT

SUMMARIES = sorted(summaries.FOLDER.rglob("*.json"))


def test_tables_are_those_of_headers_and_summaries():
    """Fails when a table is stale: run python -m experiments tables."""
    made = tables.render()
    assert {"README.md", "results.md"} <= {path.name for path in made}
    stale = [str(path) for path, text in made.items() if path.read_text() != text]
    assert not stale, "run python -m experiments tables"
    claims = [claim for path in SUMMARIES for claim in summaries.read(path)["claims"]]
    marks = []
    for paper in headers.papers().values():
        page = made[ROOT / "experiments" / paper.name / "README.md"]
        marks += re.findall(r"\| (yes|\*\*no\*\*) \|$", page, re.M)
        for preset in paper.presets.values():
            assert f"| `{preset.name}` |" in page
            assert f"| {tables.cell(preset.about)} |" in page
    assert len(marks) == len(claims) > 100
    assert marks.count("**no**") == sum(not claim["holds"] for claim in claims) > 0


@pytest.mark.parametrize("name", headers.names())
def test_a_page_of_a_paper_has_its_parts_in_order(name):
    """The idea with a snippet and a picture, the claims, the commands, what is not true."""
    page = (ROOT / "experiments" / name / "README.md").read_text()
    parts = ["## The idea\n", "```python\n", "![", "## Claims\n", "<!-- table claims"]
    parts += ["## Commands and cost\n", "<!-- table presets", "## What is not true here, and why\n"]
    assert [page.count(part) for part in parts if part[0] in "#<"] == [1] * 6
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_summary_fits_its_preset_and_names_no_machine(path):
    summary = summaries.read(path)
    summaries.check(summary, path)
    assert path.stat().st_size <= summaries.MOST_BYTES
    assert summary["claims"] and not summary["interrupted"]
    assert not re.search(r'"(/|[A-Z]:\\)', path.read_text())
    assert re.fullmatch(r"\w+( \w+)?", summary["versions"]["platform"])
    computed = summaries.claims_of(summary, path)
    assert len(computed) == len(summary["claims"])
    for ours, recorded in zip(computed, summary["claims"], strict=True):
        assert summaries.same_claim(ours, recorded), "run python -m experiments tables"


def a_run(folder, **changes):
    """A summary, without rows, that is of no run."""
    fields = theorem.PRESETS["theorem"]
    claims = [
        {"claim": "a | b", "expected": ">= 1", "measured": 1.23456, "holds": True},
        {"claim": "c", "expected": "< 1 (paper .5)", "measured": 2, "holds": False},
    ]
    summary = {
        "experiment": "dbat",
        "preset": "theorem",
        "config": {**vars(fields), "rounds": 7},
        "versions": {
            "jax": "0.1",
            "python": "3.12",
            "platform": "Linux-6.1-secret-x86_64-with-glibc",
            "devices": "2 x cpu:cpu",
        },
        "results": [],
        "claims": claims,
        "interrupted": False,
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    return summary


def test_a_run_is_added_by_one_command(tmp_path, monkeypatch, capsys):
    a_run(tmp_path / "run")
    folder = tmp_path / "results"
    monkeypatch.setattr(summaries, "FOLDER", folder)
    monkeypatch.setattr(tables, "render", lambda: {tmp_path / "page.md": "made"})
    arguments = ["tables", "--add", str(tmp_path / "run"), "--name", "seven"]
    assert main(arguments) == 0
    assert "theorem_seven.json" in "".join(capsys.readouterr().out.split())
    kept = json.loads((folder / "dbat/theorem_seven.json").read_text())
    assert kept["versions"]["platform"] == "Linux x86_64"
    assert (tmp_path / "page.md").read_text() == "made"
    assert tables.main([]) == []  # nothing changes twice


def test_rows_of_a_table(tmp_path):
    a_run(tmp_path / "run")
    summaries.add(tmp_path / "run", tmp_path, name="seven")
    paper = headers.find_paper("dbat")
    summaries_of = {"dbat": summaries.of_paper(paper, tmp_path)}
    page = tables.claims_tables(paper, summaries_of["dbat"])
    command = "`python -m experiments dbat theorem --rounds 7`"
    where = "2 CPU devices, jax 0.1, Python 3.12"
    assert f"**theorem_seven**: 1 of 2; {command} on {where}.\n\n" in page
    assert "| a \\| b | >= 1 | 1.235 | yes |" in page
    assert "| c | &lt; 1 (paper .5) | 2 | **no** |" in page
    assert "| not run in full |" in tables.presets_table(paper, summaries_of["dbat"])


def test_the_claim_that_stands_for_a_paper_must_exist():
    paper = headers.find_paper("dbat")
    claims = [{"claim": "first", "measured": 1}, {"claim": "second one", "measured": 2}]
    summaries_of = {paper.preset: {"claims": claims}}
    other = dataclasses.replace(paper, claim="second")
    assert tables.headline(dataclasses.replace(paper, claim=""), summaries_of)["measured"] == 1
    assert tables.headline(other, summaries_of)["measured"] == 2
    assert tables.headline(other, {}) is None
    with pytest.raises(ValueError, match="Claim must begin a claim of .*, got 'third'"):
        tables.headline(dataclasses.replace(paper, claim="third"), summaries_of)


def test_paths_do_not_get_into_the_repository(tmp_path):
    config = {"data": "/somewhere/text", "file": "/a/b.bin", "several": ["/a", "b"], "n": 3}
    assert {k: summaries._without_path(v) for k, v in config.items()} == {
        "data": "DIR",
        "file": "FILE",
        "several": ["DIR", "b"],
        "n": 3,
    }


def test_hardware_is_named():
    assert summaries.hardware({"devices": "1 x gpu:NVIDIA H100"}) == "1 x NVIDIA H100"
    assert summaries.hardware({"devices": "8 x cpu:cpu", "processors": "4"}) == "4 CPU cores"
    installed = execution.versions()
    assert re.fullmatch(r"\d+ CPU cores|\d+ x .+", summaries.hardware(installed))


def test_rows_that_the_page_does_not_need_are_left_out_when_asked(tmp_path):
    row = {"start": "zeros", "distance_to_s": 0.0005, "note": "z" * 50}
    a_run(tmp_path, results=[row] * 1000)
    with pytest.raises(ValueError, match=r"at most 60000 bytes.*--without_rows"):
        summaries.add(tmp_path, tmp_path / "out")
    kept = json.loads(summaries.add(tmp_path, tmp_path / "out", without_rows=True).read_text())
    assert kept["results"] == [] and kept["rows_left_out"] == 1000 and len(kept["claims"]) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interrupted": True}, "finished run"),
        ({"claims": []}, "finished run"),
        ({"preset": "nothing"}, "preset of dbat must be one of"),
        ({"config": {"old": 1}}, "theorem no longer has the field old; run the preset again"),
        ({"config": {}}, "theorem has the new field"),
        ({"versions": {}}, "is not the summary of a run"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    a_run(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        summaries.add(tmp_path, tmp_path / "out")


def test_bad_arguments_are_named(tmp_path, capsys):
    for arguments, message in (
        (["--name", "x"], "name is for one run"),
        (["--add", str(tmp_path / "none")], "is not the summary of a run"),
    ):
        assert main(["tables", *arguments]) == 2
        assert message in " ".join(capsys.readouterr().out.split())
    (tmp_path / "dbat").mkdir()
    a_run(tmp_path / "dbat")
    (tmp_path / "dbat/summary.json").rename(tmp_path / "dbat/other.json")
    with pytest.raises(ValueError, match="must be named after"):
        summaries.of_paper(headers.find_paper("dbat"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"measured": 0.8831613660230384}, True),
        ({"measured": 0.8831613670}, False),
        ({"measured": None}, False),
        ({"measured": "0.88"}, False),
        ({"holds": False}, False),
        ({"claim": "d"}, False),
        ({"expected": "> 2"}, False),
    ],
)
def test_claims_may_differ_by_rounding_only(changes, same):
    claim = {"claim": "c", "expected": "> 1", "measured": 0.8831613660230385, "holds": True}
    assert summaries.same_claim(claim, claim | changes) == same


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("51 at 0.8691", "51 at 0.8692", True),
        ("51 at 0.8691", "51 at 0.8693", False),
        ("5 at 1.2e-06", "5 at 1.3e-06", True),
        ("5 at 1.2e-06", "5 at 1.4e-06", False),
        ("5 at 0.87", "6 of 0.87", False),
        ("1, 2", "1", False),
    ],
)
def test_numbers_in_texts_may_differ_in_the_last_digit_only(ours, theirs, same):
    claim = {"claim": "c", "expected": "> 1", "holds": True}
    assert summaries.same_claim(claim | {"measured": ours}, claim | {"measured": theirs}) == same
