"""What Weights & Biases, MLflow, trackio and the table in the terminal get of a run."""

import glob
import io
import json
import sys
import time
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console
from rich.progress import Progress

import jcollab as jc
from jcollab.training import Checkpoint, Diverged, LiveTable, MLflow, ProgressBar, Trackio, WandB

KEY = jax.random.key(0)
ALGORITHM = jc.decentralized(
    lambda w, batch, key: jnp.mean((w - batch) ** 2),
    optax.sgd(0.1),
    jc.gossip(jc.topology.ring(4)),
)
ARRAYS = jnp.arange(24.0).reshape(6, 4, 1) / 24
LIBRARIES = {"WandB": "wandb", "MLflow": "mlflow", "Trackio": "trackio"}


def needs(name):
    # looked up without an import, which takes seconds
    missing = find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f"needs {name}: the extra tracking has it")


def evaluate(state):
    return {"each": state.clients.params[:2, 0], "inner": {"w": state.clients.params[0, 0]}}


def fit(listener, *, arrays=ARRAYS, **options):
    """Returns the records of the run, which may be those of several parts."""
    options = {"num_rounds": 6, "eval_every": 2, "evaluate": evaluate} | options
    lines = io.StringIO()

    class Book:
        def start(self, run):
            lines.writelines(json.dumps(record) + "\n" for record in run.records)

        def record(self, record):
            lines.write(json.dumps(record) + "\n")

        def stop(self, reason):
            pass

    batches, state = jc.data.stacked(arrays), ALGORITHM.init(jnp.zeros((4, 1)))
    jc.fit(ALGORITHM, state, batches, KEY, listeners=[Book(), listener], **options)
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def curves(records):
    """Returns what a tracker must have: the value of each metric by round."""
    expected = {}
    for record in records:
        for name in ("loss", "each/0", "each/1", "inner/w"):
            first, _, rest = name.partition("/")
            value = record.get(first)
            if rest and value is not None:
                value = value[rest] if isinstance(value, dict) else value[int(rest)]
            if value is not None:
                expected.setdefault(name, {})[record["round"]] = value
    return expected


def close(got, expected):
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        assert got[name].keys() == values.keys(), name
        np.testing.assert_allclose(
            [got[name][step] for step in values], list(values.values()), rtol=1e-6
        )


def in_parts(build, tmp_path):
    """Runs in two parts of 3 and 6 rounds; returns the records of the second."""
    checkpoint = Checkpoint(tmp_path / "run", 0, {"rate": 0.1})
    fit(build(), num_rounds=3, checkpoint=checkpoint)
    return fit(build(), checkpoint=checkpoint)


def wandb_records(folder):
    """Reads the offline file of a run: blocks of 32 KiB with records as in LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = glob.glob(f"{folder}/wandb/offline-run-*/*.wandb")
    with open(path, "rb") as file:
        data, at, part = file.read(), 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(part)
            part = b""


def wandb_run(folder):
    """Returns curves, configuration, summary and exit status."""
    got, config, summary, status = {}, {}, {}, None
    until = time.monotonic() + 60
    records = [*wandb_records(folder)]
    # wandb may return from finish before its other process has written the file
    while "exit" not in {record.WhichOneof("record_type") for record in records}:
        assert time.monotonic() < until
        time.sleep(0.1)
        records = [*wandb_records(folder)]
    for record in records:
        kind = record.WhichOneof("record_type")
        if kind == "history":
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                if not name.startswith("_"):
                    value = json.loads(item.value_json)
                    got.setdefault(name, {})[record.history.step.num] = value
        elif kind == "run":
            config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "summary":
            for item in record.summary.update:
                summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        elif kind == "exit":
            status = record.exit.exit_code
    return got, config, summary, status


def offline(folder):
    folder.mkdir(exist_ok=True)
    return WandB("jcollab", mode="offline", dir=str(folder), name="ring")


@needs("wandb")
def test_weights_and_biases_gets_one_long_run(tmp_path):
    folders = iter([tmp_path / "first", tmp_path / "second"])
    records = in_parts(lambda: offline(next(folders)), tmp_path)
    got, config, summary, status = wandb_run(tmp_path / "second")
    close(got, curves(records))
    assert config["rate"] == 0.1 and summary["stopped"] == "finished" and status == 0
    assert set(wandb_run(tmp_path / "first")[0]["loss"]) == {2, 3}


@needs("wandb")
def test_weights_and_biases_shows_a_run_that_failed(tmp_path):
    with pytest.raises(Diverged):
        fit(offline(tmp_path), arrays=ARRAYS.at[3].set(jnp.nan))
    _, _, summary, status = wandb_run(tmp_path)
    assert summary["stopped"] == "diverged" and status == 1


@needs("wandb")
def test_rounds_that_a_resumed_run_of_weights_and_biases_has_are_left_out():
    logged = []

    class Resumed:
        step = 4
        summary = {}  # noqa: RUF012

        def log(self, numbers, step):
            logged.append(step)

        def finish(self, exit_code):
            logged.append(exit_code)

    listener = WandB()
    listener._wandb = type("wandb", (), {"init": staticmethod(lambda **options: Resumed())})
    fit(listener)
    assert logged == [4, 6, 0]


@needs("mlflow")
@needs("sqlalchemy")
def test_mlflow_gets_one_long_run(tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    records = in_parts(lambda: MLflow("rings", name="a 'ring'", tracking_uri=uri), tmp_path)
    fit(MLflow("rings", name="a 'ring'", tracking_uri=uri))  # from round 0: another run
    with pytest.raises(Diverged):
        fit(MLflow("rings", tracking_uri=uri), arrays=ARRAYS.at[3].set(jnp.nan))
    client = MlflowClient(uri)
    place = client.get_experiment_by_name("rings").experiment_id
    failed, again, run = client.search_runs([place])
    assert (run.data.params, run.data.tags["stopped"]) == ({"rate": "0.1"}, "finished")
    assert [r.info.status for r in (failed, again, run)] == ["FAILED", "FINISHED", "FINISHED"]
    assert run.info.run_name == again.info.run_name == "a 'ring'"

    def history(run):
        return {
            name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }

    got = history(run)
    assert all(len(dict(steps)) == len(steps) for steps in got.values())  # no round twice
    # round 3 is the end of the first part; the long run does not have it, its tracker does
    assert [step for step, _ in got.pop("round")] == [0, 2, 3, 4, 6]
    close({k: {s: v for s, v in steps if s != 3} for k, steps in got.items()}, curves(records))


@needs("trackio")
def test_trackio_gets_one_long_run(tmp_path, monkeypatch, capsys):
    from trackio import sqlite_storage
    from trackio.sqlite_storage import SQLiteStorage

    for module in [m for name, m in sys.modules.items() if name.split(".")[0] == "trackio"]:
        if hasattr(module, "TRACKIO_DIR"):  # read from the environment when it is imported
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    assert tmp_path / "trackio" == sqlite_storage.TRACKIO_DIR
    records = in_parts(lambda: Trackio("rings", name="ring", auto_log_cpu=False), tmp_path)
    newest = SQLiteStorage.get_run_records("rings")[-1]
    logs = SQLiteStorage.get_logs("rings", newest["name"], run_id=newest["id"])
    got = {}
    for log in logs:
        for name in log.keys() - {"step", "timestamp"}:
            got.setdefault(name, {})[log["step"]] = log[name]
    close(got, curves(records))
    config = SQLiteStorage.get_run_config("rings", newest["name"], run_id=newest["id"])
    assert config["rate"] == 0.1


@pytest.mark.parametrize("listener", [WandB, MLflow, Trackio])
def test_a_missing_library_is_named_with_its_extra(listener, monkeypatch):
    name = listener.__name__
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    message = rf'{name} needs {LIBRARIES[name]}: pip install "jax-collab\[tracking\]"'
    with pytest.raises(ImportError, match=message):
        listener("rings")


def shown(*names, rows=10, **options):
    output = io.StringIO()
    fit(LiveTable(*names, rows=rows, console=Console(file=output, width=80)), **options)
    lines = [line.split() for line in output.getvalue().splitlines() if line.strip()]
    return [line for line in lines if "─" not in line[0]]


def test_the_table_shows_the_newest_records(tmp_path):
    head, *rows = shown()
    assert head == ["round", "inner/w", "loss"]
    assert [row[0] for row in rows] == ["0", "2", "4", "6"] and len(rows[0]) == 2
    head, *rows = shown("each/1", "loss", rows=2)
    assert head == ["round", "each/1", "loss"] and [row[0] for row in rows] == ["4", "6"]
    checkpoint = Checkpoint(tmp_path, 0)
    shown(num_rounds=4, checkpoint=checkpoint)
    assert [row[0] for row in shown(checkpoint=checkpoint)[1:]] == ["0", "2", "4", "6"]
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        LiveTable(rows=0)
    with pytest.raises(TypeError, match="console must be a Console, got StringIO"):
        LiveTable(console=io.StringIO())


def test_the_table_moves_in_a_terminal_beside_a_bar():
    output = io.StringIO()
    console = Console(file=output, width=80, height=30, force_terminal=True)
    with Progress(console=console) as progress:
        listener = LiveTable("loss", console=console)
        bar = ProgressBar("gossip", progress)
        state, batches = ALGORITHM.init(jnp.zeros((4, 1))), jc.data.stacked(ARRAYS)
        jc.fit(ALGORITHM, state, batches, KEY, num_rounds=6, listeners=[bar, listener])
    assert "gossip" in output.getvalue() and "loss" in output.getvalue()
