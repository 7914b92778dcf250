import html.parser
import json
import math
import pathlib

import numpy as np
import pytest
from scipy import stats

from experiments import report, summaries
from experiments.__main__ import main
from experiments.report import _logs, _panels, _runs, _tables
from tests.experiments.report_runs import ROUNDS, SEEDS, STRANGE, make_page, write_log, write_run

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and gathers what is shown and what is loaded."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources, self.scripts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        into = self.scripts if self.open and self.open[-1] in ("script", "style") else self.text
        into.append(data)


def read(page):
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert not reader.open
    return " ".join(" ".join(reader.text).split()), reader


# logs


def test_a_log_has_a_curve_for_each_setting(tmp_path):
    curves = _logs.read_log(write_run(tmp_path / "run") / "metrics.jsonl")
    assert [c.tags["algorithm"] for c in curves] == ["gossip", "gossip", "relay", "relay"]
    assert [c.chosen for c in curves] == [False, True, False, True]
    assert curves[0].tuned == ("learning_rate",) and "seed" not in curves[0].tags
    rounds, values = curves[3].values("test_mean_accuracy")
    assert rounds == [0, 10, 20]
    np.testing.assert_allclose(values, [[0.9 * t / 20 + 0.01 * s for t in ROUNDS] for s in SEEDS])
    assert curves[0].metrics() == ["test_mean_accuracy", "loss"]
    assert curves[0].client_metrics() == ["test_client_accuracy"]
    assert curves[3].values("test_client_accuracy")[1].shape == (3, 3, 3)


def test_without_a_choice_every_setting_counts(tmp_path):
    curves = _logs.read_log(write_run(tmp_path / "run", chosen=False) / "metrics.jsonl")
    assert [c.chosen for c in curves] == [True] * 4 and curves[0].tuned == ()


def test_a_choice_belongs_to_its_training(tmp_path):
    a = {"method": "a", "rate": [1.0, 2.0], "seed": [0, 0]}
    lines = [
        {**a, "round": 0, "loss": [1, 1]},
        {**a, "method": "b", "round": 0, "loss": [1, 1]},
        {"method": "a", "chosen": {"rate": 2.0}},
        {"method": "b", "chosen": {"rate": 5.0}},  # none has it
    ]
    curves = _logs.read_log(write_log(tmp_path, *lines))
    assert [(c.tags["method"], c.tags["rate"]) for c in curves if c.chosen] == [
        ("a", 2.0),
        ("b", 1.0),
        ("b", 2.0),
    ]


def test_lines_of_other_forms(tmp_path):
    lines = [
        {"row": 1, "steps": 3},  # of no curve
        "",
        *({"method": "a", "seed": s, "round": t, "loss": s + t, "client_accuracy": [0.0, 1.0]}
          for s in (1, 2) for t in (0, 5)),
        {"method": "b", "round": 0, "loss": None, "broken": True, "errors": [[1.0], [2.0]]},
        {"method": "b", "round": 4, "loss": 7},
        {"method": "c", "round": 9, "loss": 1},
        {"method": "c", "round": 0, "loss": 2},  # trained again
    ]  # fmt: skip
    a, b, c = _logs.read_log(write_log(tmp_path, *lines))
    np.testing.assert_array_equal(a.values("loss")[1], [[1, 6], [2, 7]])
    assert a.values("client_accuracy")[1].shape == (2, 2, 2)
    assert b.metrics() == ["loss"] and b.values("loss")[0] == [4]
    assert c.values("loss")[0] == [0]
    assert _logs.read_log(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "must be JSON, got '{not json'"),
        ("[1, 2]", "must be a JSON object"),
        ('{"seed": [0, 1], "rate": [0.1], "round": 0}', "one entry for each replica"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    path = write_log(tmp_path, {"round": 0, "loss": 1}, line)
    with pytest.raises(ValueError, match=f"{path}, line 2.*{message}"):
        _logs.read_log(path)


# bands


def test_band_of_three_seeds_is_a_confidence_interval():
    estimate = _logs.band(np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]))
    low, high = stats.t.interval(0.95, 2, loc=3, scale=stats.sem([1, 2, 6]))
    assert estimate.kind == "confidence"
    np.testing.assert_allclose(estimate.mean, [3, 5])
    np.testing.assert_allclose((estimate.low[0], estimate.high[0]), (low, high))
    np.testing.assert_allclose((estimate.low[1], estimate.high[1]), (5, 5))


@pytest.mark.parametrize(
    ("values", "kind", "mean", "low", "high"),
    [
        ([[1.0], [2.0]], "range", 1.5, 1, 2),
        ([[4.0]], "none", 4, 4, 4),
        ([[1.0], [math.nan], [2.0]], "range", 1.5, 1, 2),
    ],
)
def test_band_of_few_seeds(values, kind, mean, low, high):
    estimate = _logs.band(np.array(values))
    assert (estimate.kind, estimate.mean[0], estimate.low[0], estimate.high[0]) == (
        kind,
        mean,
        low,
        high,
    )


# panels


def test_runs_of_a_preset_share_a_panel(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name)
    (panel,) = _panels.panels(_runs.read_runs([tmp_path]))
    assert panel["tags"] == {"run": ["a", "b"], "algorithm": ["gossip", "relay"]}
    assert panel["metrics"][0] == "test_mean_accuracy" and len(panel["curves"]) == 8
    first = panel["curves"][0]
    assert first["label"] == "a: gossip" and first["setting"] == "learning rate 0.1"
    assert "topology: chain" in first["about"]
    colors = {(c["tags"]["run"], c["tags"]["algorithm"]): c["color"] for c in panel["curves"]}
    assert colors["a", "gossip"] == colors["b", "gossip"] != colors["a", "relay"]
    assert (
        first["data"]["loss"]["x"] == [0, 10, 20] and first["data"]["loss"]["kind"] == "confidence"
    )
    frames = first["clients"]["test_client_accuracy"]
    np.testing.assert_allclose(frames["values"][2], [0.61, 0.305, 0.1525])
    assert first["graph"] in panel["graphs"]


def test_clients_need_a_graph_that_has_them(tmp_path):
    run = write_run(tmp_path / "a", graphs=False)
    assert _panels.panels(_runs.read_runs([run]))[0]["client_metrics"] == []
    (run / "graphs.json").write_text(
        '{"chain": {"edges": [[0, 1]], "positions": [[0, 0], [1, 1]]}}'
    )
    assert _panels.panels(_runs.read_runs([run]))[0]["client_metrics"] == []


def test_long_curves_are_thinned(tmp_path):
    lines = [{"round": t, "loss": t} for t in range(10_000)]
    (curve,) = _logs.read_log(write_log(tmp_path, *lines))
    data = _panels._data(curve, "loss")
    assert data["thinned"] and len(data["x"]) == 500 and data["x"][::499] == [0, 9999]


# tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.30000001192092896, "0.3"), (1.23456789, "1.235"), (1.3e-14, "1.3e-14"), (3, "3"),
        (12345.6, "12346"), (2.5e9, "2.5e+09"), (True, "yes"), (None, ""), ("text", "text"),
        ([0.1, 0.25], "0.1, 0.25"), (list(range(100)), None), ({"a": 1}, '{"a": 1}'),
    ],
)  # fmt: skip
def test_cell(value, text):
    if text is None:
        assert len(_tables.cell(value)) < 80 and _tables.cell(value).endswith("… (100 values)")
    else:
        assert _tables.cell(value) == text


def test_only_fields_that_differ_are_compared(tmp_path):
    write_run(tmp_path / "a", hidden=64, extra=None)
    write_run(tmp_path / "b", hidden=32)
    (table,) = _tables.comparisons(_runs.read_runs([tmp_path]))
    assert table.runs == ["a", "b"]
    assert table.rows == [("hidden", ["64", "32"]), ("extra", ["none", "no such field"])]


def test_many_runs_are_compared_by_preset(tmp_path):
    for i in range(8):
        run = write_run(tmp_path / str(i), width=i)
        if i == 7:
            path = run / "summary.json"
            path.write_text(path.read_text().replace('"quick"', '"slow"'))
    (table,) = _tables.comparisons(_runs.read_runs([tmp_path]))
    assert table.title == "toy quick" and len(table.runs) == 7


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/r/a"], [""]),
        (["/r/a", "/r/b"], ["a", "b"]),
        (["/r/a/toy/quick", "/r/b/toy/quick"], ["a", "b"]),
        (["/r/grid", "/r/grid/grid", "/r/grid/rate=1"], ["grid/", "grid", "rate=1"]),
        (["/r/x/a", "/s/a"], ["r/x", "s"]),
    ],
)
def test_short_names_tell_folders_apart(folders, names):
    assert list(_runs.short_names(list(map(pathlib.Path, folders))).values()) == names


def test_the_command_spells_what_differs():
    summary = {
        "experiment": "toy", "preset": "quick",
        "config": {"n": 3, "rates": [0.1, 1.0], "name": "a b", "gone": 1},
    }  # fmt: skip
    default = {"n": 3, "rates": [0.1], "name": "x"}
    assert summaries.command(summary, default) == (
        "python -m experiments toy quick --rates 0.1 1.0 --name 'a b'"
    )


def test_the_preset_of_a_run_is_described():
    about, config = _runs._preset("relaysgd", "quickstart")
    assert "clients" in about and "learning_rates" in config
    assert _runs._preset("relaysgd", "gone") == ("", {})


# refusals


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", "{}", "is not the summary of a run: 'experiment' must be a str"),
        ("summary.json", "nothing", "must be JSON"),
        ("summary.json", "[]", "must contain a JSON object, got list"),
        ("graphs.json", '{"g": {"edges": []}}', "graph 'g' must have"),
        ("graphs.json", '{"g": {"edges": [[0, 2]], "positions": [[0, 0], [1, 1]]}}', "0 to 1"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, name, content, message):
    run = write_run(tmp_path / "a")
    (run / name).write_text(content)
    with pytest.raises(ValueError, match=f"{run / name}.*{message}"):
        make_page(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("results", [3], "a row of results must be a dict"),
        (
            "claims",
            [{"claim": "x"}],
            "a claim must be a dict with claim, expected, holds, measured",
        ),
    ],
)
def test_a_malformed_summary_is_named(tmp_path, field, value, message):
    path = write_run(tmp_path / "a") / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=message):
        make_page(tmp_path)


def test_folders_without_runs_are_named(tmp_path, capsys):
    for arguments, message in (([], "at least one folder"), ([str(tmp_path)], "has none")):
        with pytest.raises(ValueError, match=message):
            report.main(arguments)
    assert main(["report", str(tmp_path)]) == 2
    assert "has none" in capsys.readouterr().out


# pages


def test_a_page_holds_everything(tmp_path, capsys):
    write_run(tmp_path / "a", hidden=64)
    write_run(tmp_path / "b", hidden=32)
    out = tmp_path / "pages" / "page.html"
    assert main(["report", str(tmp_path), "--out", str(out), "--title", "Two runs"]) == 0
    assert "page.html" in capsys.readouterr().out
    text, reader = read(out)
    assert "Two runs" in text and "toy quick (a) 1 of 2" in text
    assert "worst client >= 0.9 0.9 no" in text and "ahead > 0 0.2 yes" in text
    assert "hidden 64 32" in text and "environment" not in text
    assert "jax 0.7" in text and "rates 0.1, 0.3" in text
    local = ("data:", "#")
    assert reader.sources and all(source.startswith(local) for source in reader.sources)
    assert sum(source.startswith("data:image/png") for source in reader.sources) == 2


def test_the_library_is_embedded_once(tmp_path):
    for name in "abc":
        write_run(tmp_path / name)
    scripts = read(make_page(tmp_path))[1].scripts
    assert sum("Bokeh.set_log_level" in script for script in scripts) == 1
    assert make_page(tmp_path).stat().st_size < 2e6


def test_a_run_without_a_log_gives_a_page(tmp_path):
    (write_run(tmp_path / "a") / "metrics.jsonl").unlink()
    text, reader = read(make_page(tmp_path))
    assert "Curves" not in text and "worst client" in text
    assert not any("Bokeh.set_log_level" in script for script in reader.scripts)


def test_what_comes_from_a_run_is_escaped(tmp_path):
    run = write_run(tmp_path / "<b> & 'c'", claim=STRANGE, field=STRANGE)
    log = run / "metrics.jsonl"
    log.write_text(log.read_text().replace('"gossip"', json.dumps(STRANGE)))
    page = make_page(tmp_path, "--title", STRANGE)
    text, reader = read(page)
    assert text.count(STRANGE) >= 4 and "<b> & 'c'" in text
    assert STRANGE not in page.read_text()
    assert not any(script.startswith("window.broken") for script in reader.scripts)
    (data,) = (json.loads(s) for s in reader.scripts if s.startswith("[{"))
    assert data[0]["curves"][0]["tags"]["algorithm"] == STRANGE
