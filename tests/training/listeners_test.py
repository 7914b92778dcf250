"""What listeners get, and what they write."""

import io
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console
from rich.progress import Progress

import jcollab as jc
from jcollab.training import Checkpoint, Diverged, JsonLines, ProgressBar, RunInfo, TensorBoard
from jcollab.training.listeners import make_progress

KEY = jax.random.key(0)


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


ALGORITHM = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(4)))
ARRAYS = jnp.arange(24.0).reshape(6, 4, 1) / 24


class Book:
    """Remembers what it got."""

    def __init__(self):
        self.got = []

    def start(self, run):
        self.got.append(("start", run))

    def record(self, record):
        self.got.append(("record", record))

    def stop(self, reason):
        self.got.append(("stop", reason))

    def records(self):
        return [what for kind, what in self.got if kind == "record"]


def fit(*listeners, arrays=ARRAYS, state=None, **options):
    options = {"num_rounds": 6, "eval_every": 2} | options
    state = ALGORITHM.init(jnp.zeros((4, 1))) if state is None else state
    return jc.fit(ALGORITHM, state, jc.data.stacked(arrays), KEY, listeners=listeners, **options)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_listeners_are_told_of_start_records_and_end():
    book, other = Book(), Book()
    result = fit(book, other, evaluate=lambda s: {"each": s.clients.params[:, 0]})
    assert book.got[0] == ("start", RunInfo(6, 0, (), {}))
    assert book.got[-1] == ("stop", "finished") and other.got == book.got
    records = book.records()
    assert [record["round"] for record in records] == [0, 2, 4, 6]
    assert "loss" not in records[0] and len(records[0]["each"]) == 4
    np.testing.assert_allclose(records[2]["loss"], result.log["loss"][2:4].mean(), rtol=1e-6)
    json.dumps(records, allow_nan=False)


def test_a_run_that_goes_on_tells_what_was_before(tmp_path):
    first, second = Book(), Book()
    checkpoint = Checkpoint(tmp_path, 0, {"rate": 0.1})
    fit(first, num_rounds=4, checkpoint=checkpoint)
    fit(second, checkpoint=checkpoint)
    assert second.got[0] == ("start", RunInfo(6, 4, tuple(first.records()), {"rate": 0.1}))
    assert [record["round"] for record in second.records()] == [6]


def test_what_a_listener_raises_ends_the_run():
    class Broken(Book):
        def record(self, record):
            raise OSError("no space left")

    before, after = Book(), Book()
    with pytest.raises(OSError, match="no space left"):
        fit(before, Broken(), after)
    assert before.got[-1] == ("stop", "failed") and after.got[-1] == ("stop", "failed")
    assert len(before.records()) == 1 and not after.records()

    class Closed(Book):
        def stop(self, reason):
            raise OSError("closed already")

    with pytest.raises(OSError, match="closed already"):
        fit(before, Closed())
    assert before.got[-1] == ("stop", "finished")  # the others are stopped all the same


def test_a_run_that_diverges_is_recorded_and_stopped(tmp_path):
    book = Book()
    with pytest.raises(Diverged):
        fit(book, JsonLines(tmp_path / "log"), arrays=ARRAYS.at[3].set(jnp.nan))
    assert book.got[-1] == ("stop", "diverged")
    assert book.records()[-1] == {"round": 4, "loss": None, "diverged": True}
    assert lines(tmp_path / "log") == book.records()


def test_files_of_lines_are_of_one_run_or_of_many(tmp_path):
    path, many = tmp_path / "one", tmp_path / "many"
    for seed in range(2):
        fit(JsonLines(path), JsonLines(many, tags={"seed": seed}, append=True))
    assert [line["round"] for line in lines(path)] == [2, 4, 6]
    assert [(line["seed"], line["round"]) for line in lines(many)] == [
        (seed, done) for seed in range(2) for done in (2, 4, 6)
    ]
    assert next(iter(lines(many)[0])) == "seed"


def test_a_run_that_goes_on_from_a_state_adds_lines(tmp_path):
    path = tmp_path / "log"
    half = fit(JsonLines(path), num_rounds=4)
    fit(JsonLines(path), state=half.state)
    assert [line["round"] for line in lines(path)] == [2, 4, 6]


def test_the_bar_shows_rounds_and_may_be_added_to_another():
    output = io.StringIO()
    with Progress(console=Console(file=output, width=100)) as progress:
        fit(ProgressBar("gossip", progress))
        (task,) = progress.tasks
        assert task.description == "gossip" and task.completed == task.total == 6
    assert "gossip" in output.getvalue()


def test_the_default_bar_is_on_standard_error(capsys):
    jc.fit(ALGORITHM, ALGORITHM.init(jnp.zeros((4, 1))), jc.data.stacked(ARRAYS), KEY, num_rounds=6)
    captured = capsys.readouterr()
    assert "training" in captured.err and not captured.out


@pytest.mark.parametrize("widgets", [None, object()])
def test_a_bar_in_a_notebook_needs_no_widgets(widgets, monkeypatch):
    """Without ipywidgets it is printed at its end, as into a file."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("jcollab.training.listeners.find_spec", lambda name: widgets)
    console = make_progress().console
    assert console.is_jupyter == (widgets is not None) and not console.is_terminal


def test_a_bar_may_be_shown_within_a_bar():
    bar = ProgressBar(progress=Progress(disable=True))

    def evaluate(state):
        if int(state.step) == 2:
            fit(bar, num_rounds=2)
        return {}

    fit(bar, evaluate=evaluate)
    assert [task.completed for task in bar.progress.tasks] == [6, 2]


def scalars(folder):
    """What TensorBoard reads: value by tag and step, of the newest run of each step."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    values = {}
    for path in sorted(pathlib.Path(folder).iterdir(), key=lambda p: p.name):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16
            if event.HasField("session_log"):  # a restart: later steps are overwritten
                values = {k: v for k, v in values.items() if k[1] < event.step}
            for value in event.summary.value:
                values[value.tag, event.step] = value.simple_value
    return values


def test_event_files_are_those_of_one_long_run(tmp_path):
    def evaluate(state):
        return {"each": state.clients.params[:2, 0], "inner": {"w": state.clients.params[0, 0]}}

    fit(TensorBoard(tmp_path / "whole"), evaluate=evaluate)
    checkpoint = Checkpoint(tmp_path / "run", 0)
    for rounds in (3, 6):
        board = TensorBoard(tmp_path / "parts")
        fit(board, evaluate=evaluate, num_rounds=rounds, checkpoint=checkpoint)
    expected = scalars(tmp_path / "whole")
    assert scalars(tmp_path / "parts") == expected
    assert {tag for tag, _ in expected} == {"loss", "each/0", "each/1", "inner/w"}
    assert {step for _, step in expected} == {0, 2, 4, 6}
