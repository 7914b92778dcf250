import json
import re

import pytest

from experiments import contract, table
from experiments.__main__ import main
from tests import ROOT

FOLDER = ROOT / "docs/results"
SUMMARIES = sorted(FOLDER.rglob("*.json"))
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def test_the_page_is_that_of_the_summaries():
    made = table.render(FOLDER)
    assert made == (ROOT / "docs/results.md").read_text(), "run python -m experiments table"
    claims = [claim for path in SUMMARIES for claim in table.read(path)["claims"]]
    marks = re.findall(r"\| (yes|\*\*no\*\*) \|", made)
    assert len(marks) == len(claims) > 100
    assert marks.count("**no**") == sum(not claim["holds"] for claim in claims) > 0


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_summary_fits_its_preset_and_names_no_machine(path):
    summary = table.read(path)
    table.check(summary, path)
    assert path.stat().st_size <= table.MOST_BYTES
    assert summary["claims"] and not summary["interrupted"]
    assert not re.search(r'"(/|[A-Z]:\\)', path.read_text())
    assert re.fullmatch(r"\w+( \w+)?", summary["versions"]["platform"])
    computed = table.judged(summary, path)
    assert len(computed) == len(summary["claims"])
    for ours, recorded in zip(computed, summary["claims"], strict=True):
        assert_same_claim(ours, recorded)


def assert_same_claim(computed, recorded):
    """Equal but for rounding: sums and least squares differ in their last digits by processor."""
    for field in ("claim", "expected", "holds"):
        assert computed[field] == recorded[field], "the claims have changed: add it again"
    ours, theirs = computed["measured"], recorded["measured"]
    if not isinstance(ours, str):
        assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-12)
        return
    assert NUMBER.split(ours) == NUMBER.split(theirs)
    for a, b in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
        digits = len(b.lower().partition("e")[0].partition(".")[2])
        exponent = int(b.lower().partition("e")[2] or 0)
        assert float(a) == pytest.approx(float(b), abs=1.01 * 10.0 ** (exponent - digits))


def a_run(folder, **changes):
    """A summary, without rows, that is of no run."""
    fields = contract.find("dbat", "theorem").config
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


def test_a_run_is_added_by_one_command(tmp_path, capsys):
    a_run(tmp_path / "run")
    page, folder = tmp_path / "page.md", tmp_path / "results"
    arguments = ["table", str(folder), "--out", str(page), "--add", str(tmp_path / "run")]
    assert main([*arguments, "--name", "seven"]) == 0
    assert "page.md" in capsys.readouterr().out
    kept = json.loads((folder / "dbat/theorem_seven.json").read_text())
    assert kept["versions"]["platform"] == "Linux x86_64"
    text = page.read_text()
    assert "| 1 of 2 | 2 CPU devices | jax 0.1, Python 3.12 |" in text
    first = "[2202.04414](https://arxiv.org/abs/2202.04414)"
    command = "`python -m experiments dbat theorem --rounds 7`"
    assert f"| {first} | a \\| b | >= 1 | 1.235 | yes | {command} | 2 CPU devices |" in text
    assert "|  | c | \\< 1 (paper .5) | 2 | **no** |  |  |" in text


def test_paths_do_not_get_into_the_repository(tmp_path):
    config = {"data": "/somewhere/text", "file": "/a/b.bin", "several": ["/a", "b"], "n": 3}
    assert {k: table._without_path(v) for k, v in config.items()} == {
        "data": "DIR",
        "file": "FILE",
        "several": ["DIR", "b"],
        "n": 3,
    }


def test_hardware_is_named():
    assert table.hardware({"devices": "1 x gpu:NVIDIA H100"}) == "1 x NVIDIA H100"
    assert table.hardware({"devices": "8 x cpu:cpu", "processors": "4"}) == "4 CPU cores"
    found = contract.versions()
    assert re.fullmatch(r"\d+ CPU cores|\d+ x .+", table.hardware(found))


def test_rows_that_the_page_does_not_need_are_left_out_when_asked(tmp_path):
    row = {"start": "zeros", "distance_to_s": 0.0005, "note": "z" * 50}
    a_run(tmp_path, results=[row] * 1000)
    with pytest.raises(ValueError, match=r"at most 60000 bytes.*--without_rows"):
        table.add(tmp_path, tmp_path / "out")
    kept = json.loads(table.add(tmp_path, tmp_path / "out", without_rows=True).read_text())
    assert kept["results"] == [] and kept["rows_left_out"] == 1000 and len(kept["claims"]) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interrupted": True}, "finished run"),
        ({"claims": []}, "finished run"),
        ({"preset": "nothing"}, "preset of dbat must be one of"),
        ({"config": {"old": 1}}, "theorem has no field old any more; run the preset again"),
        ({"config": {}}, "theorem has got the field"),
        ({"versions": {}}, "is not the summary of a run"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, said):
    a_run(tmp_path, **changes)
    with pytest.raises(ValueError, match=said):
        table.add(tmp_path, tmp_path / "out")


def test_bad_folders_are_named(tmp_path, capsys):
    for arguments, said in (
        ([str(tmp_path)], "FOLDER must hold"),
        ([str(tmp_path), "--name", "x"], "name is for one run"),
        ([str(tmp_path), "--add", str(tmp_path / "none")], "is not the summary of a run"),
    ):
        assert main(["table", *arguments, "--out", str(tmp_path / "page.md")]) == 2
        assert said in " ".join(capsys.readouterr().out.split())
    (tmp_path / "dbat").mkdir()
    a_run(tmp_path / "dbat")
    (tmp_path / "dbat/summary.json").rename(tmp_path / "dbat/other.json")
    with pytest.raises(ValueError, match="must be named after"):
        table.render(tmp_path)


def test_a_claim_may_differ_in_the_last_digit_only():
    claim = {"claim": "c", "expected": "> 1", "measured": 0.8831613660230385, "holds": True}
    assert_same_claim(claim, claim | {"measured": 0.8831613660230384})
    assert_same_claim(claim | {"measured": "51 at .8691"}, claim | {"measured": "51 at .8692"})
    for other in ({"measured": 0.8831613670}, {"holds": False}, {"claim": "d"}):
        with pytest.raises(AssertionError):
            assert_same_claim(claim, claim | other)
    with pytest.raises(AssertionError):
        assert_same_claim(claim | {"measured": "5 at .87"}, claim | {"measured": "5 at .89"})
