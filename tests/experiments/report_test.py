import html.parser
import json

import pytest

from experiments import report
from experiments.__main__ import main

VOID = {"meta", "img", "link", "br", "hr"}


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and gathers what is shown and what is loaded."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page.read_text())
    assert not reader.open
    return " ".join(" ".join(reader.text).split()), reader.sources


def test_a_page_holds_everything(tmp_path, capsys):
    runs = tmp_path / "runs"
    main(["dbat", "theorem", "--rounds", "5", "--num_seeds", "2", "--out", str(runs / "a")])
    main(["dbat", "theorem", "--smoke", "--out", str(runs / "b")])
    assert main(["report", str(runs), "--out", str(tmp_path / "x/page.html")]) == 0
    assert "page.html" in capsys.readouterr().out
    text, sources = read(tmp_path / "x/page.html")
    assert "dbat theorem 0 of 1" in text and "none were computed" in text
    assert "python -m experiments dbat theorem --rounds 5 --num_seeds 2" in text
    assert "the second member learns s in every cell" in text and "distance to s" in text
    assert "jaxlib" in text and "learning_rate 0.1" in text
    assert all(source.startswith(("data:image/png", "#run")) for source in sources)
    assert sum(source.startswith("data:") for source in sources) == 2


def test_what_comes_from_a_run_is_escaped(tmp_path):
    summary = {
        "experiment": "<b>", "preset": "&", "config": {}, "versions": {}, "interrupted": True,
        "claims": [], "results": [{"a": "<script>", "b": None, "c": True}, {"a": 1.23456789}],
    }  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    page = report.main([str(tmp_path), "--out", str(tmp_path / "page.html")])
    text, _ = read(page)
    assert "<script>" in text and "<script>" not in page.read_text()
    assert "1.235" in text and "was interrupted" in text


def test_bad_folders_are_named(tmp_path, capsys):
    for arguments, said in (([], "at least one folder"), ([str(tmp_path)], "has none")):
        with pytest.raises(ValueError, match=said):
            report.main(arguments)
    (tmp_path / "summary.json").write_text("{}")
    assert main(["report", str(tmp_path)]) == 2
    assert "is not the summary of a run" in capsys.readouterr().out
