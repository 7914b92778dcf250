import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from experiments import contract, execution, grid, headers
from experiments.__main__ import main, parse
from jcollab import training
from jcollab.training.checkpoints import Store
from jcollab.training.locks import locked
from jcollab.training.records import plain
from tests import ROOT

# one of every paper that is quick; the others run in `make test-all`
QUICK = {
    ("clipped_gossip", "consensus"),
    ("critical_params", "delay"),
    ("crosslingual", "smoke"),
    ("dbat", "theorem"),
    ("federated", "population"),
    ("flow_perturbations", "cifar10_flow"),
    ("grad_align", "local_steps"),
    ("optimal_averaging", "parabola"),
    ("relaysgd", "fig9"),
    ("rep_sharing", "heterogeneous"),
    ("x2static", "ablations"),
}
ALL = [(paper.name, name) for paper in headers.papers().values() for name in paper.presets]
MARKED = [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in ALL]
SUMMARY = {"experiment", "preset", "config", "versions", "results", "claims", "interrupted"}


def test_every_paper_has_a_quick_preset():
    assert sorted(paper for paper, _ in QUICK) == headers.names() and set(ALL) > QUICK


def test_listing_needs_no_jax(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    for paper, preset in ALL:
        assert paper in listed and preset in listed
    script = "import sys, experiments.__main__ as m; m.main([]); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(("paper", "preset"), ALL)
def test_a_preset_is_described_configured_and_shortened(paper, preset):
    """The header, PRESETS and SMOKE of a module are about the same presets."""
    module, header = contract.load(paper, preset), headers.find(paper, preset)
    own = {
        p.name
        for p in headers.find_paper(paper).presets.values()
        if p.experiment == header.experiment
    }
    assert set(module.PRESETS) == set(module.SMOKE) == own
    assert header.about and header.cost and header.expected
    default, smoke = (contract.configure(paper, preset, smoke=s) for s in (False, True))
    assert type(default) is type(smoke) is module.Config
    assert {"seed"} <= {field.name for field in dataclasses.fields(module.Config)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        default.seed = 1
    for name in ("run", "claims", "figures"):
        assert callable(getattr(module, name))


@pytest.mark.parametrize("paper, preset", MARKED)
def test_a_preset_in_smoke_mode(paper, preset, tmp_path):
    assert main([paper, preset, "--smoke", "--seed", "3", "--out", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == SUMMARY
    assert summary["experiment"] == paper and summary["preset"] == preset
    assert summary["claims"] == [] and summary["config"]["seed"] == 3
    assert summary["config"] == json.loads((tmp_path / "config.json").read_text())
    assert summary["results"] and all(isinstance(row, dict) for row in summary["results"])
    assert not any(isinstance(v, (dict, list)) for row in summary["results"] for v in row.values())
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines and all(json.loads(line) for line in lines)
    assert list(tmp_path.glob("*.png"))


def test_a_claim_that_does_not_hold_is_an_error(tmp_path, capsys):
    """After one round nobody has learned anything, and the run reports it."""
    arguments = ["--rounds", "1", "--n", "4", "--num_seeds", "1", "--hidden", "8"]
    status = main(["relaysgd", "quickstart", *arguments, "--out", str(tmp_path)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert status == 1
    assert {"claim", "expected", "measured", "holds"} == set(summary["claims"][0])
    assert not summary["claims"][0]["holds"]
    assert "NO" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["quickstart", "fig7"])
def test_ctrl_c_keeps_what_was_measured(preset, tmp_path, monkeypatch):
    """The interrupt arrives as the first line of the log is written."""
    written = []

    def write(log, record, **tags):
        if not written:
            os.kill(os.getpid(), signal.SIGINT)
        written.append(record)

    monkeypatch.setattr("experiments.contract.Context.log", write)
    monkeypatch.setattr("jcollab.training.JsonLines.record", write)
    assert main(["relaysgd", preset, "--smoke", "--out", str(tmp_path)]) == 130
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"] and summary["results"] and not summary["claims"]


def test_bad_input_is_named(capsys):
    with pytest.raises(ValueError, match="paper must be one of .*relaysgd.*got 'relay'"):
        parse("relay", "quickstart", [])
    with pytest.raises(ValueError, match="preset of relaysgd must be one of .*quickstart.*got 'q'"):
        parse("relaysgd", "q", [])
    with pytest.raises(ValueError, match="unknown field '--bogus'.*--learning_rates"):
        parse("relaysgd", "quickstart", ["--bogus", "3"])
    with pytest.raises(ValueError, match="alphas must be above 0, got"):
        contract.configure("relaysgd", "quickstart", alphas=(0.0,))
    with pytest.raises(ValueError, match="field must be one of .*got 'bogus'"):
        contract.configure("relaysgd", "quickstart", bogus=1)
    with pytest.raises(SystemExit) as status:  # the parser itself refuses values
        main(["relaysgd", "quickstart", "--rounds", "0"])
    assert status.value.code == 2
    assert "rounds must be at least 1, got 0" in capsys.readouterr().err
    assert main(["relaysgd", "nothing"]) == 2
    assert "quickstart" in capsys.readouterr().out


TAYLOR = ["grad_align", "taylor"]


@pytest.mark.parametrize("values", [["nan"], ["inf"], ["x"], []])
def test_numbers_that_are_none_are_refused(values, capsys):
    with pytest.raises(SystemExit) as status:
        main([*TAYLOR, "--betas", *values])
    assert status.value.code == 2 and "betas" in capsys.readouterr().err


def test_files_that_cannot_be_used_are_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "summary.json").write_text("[1]")
    for arguments in (
        [*TAYLOR, "--out", tmp_path / "file"],
        [*TAYLOR, "--out", tmp_path / "file" / "in"],
        [*TAYLOR, "--seed", "0", "1", "--out", tmp_path / "file"],
        ["report", tmp_path / "none"],
        ["report", tmp_path],
        ["report", ROOT / "docs/results/relaysgd/fig2.json"],
        ["tables", "--add", tmp_path],
    ):
        assert main([*map(str, arguments)]) == 2
        error = capsys.readouterr().out.split("error:")
        assert len(error) == 2 and len(error[1].splitlines()) == 1


def test_a_start_that_fails_does_not_block_the_next(tmp_path, monkeypatch, capsys):
    """Status 1 is for claims alone; an error of the program comes with its traceback."""

    for failure, status, shown in (
        (OSError(28, "No space left on device"), 2, "error: [Errno 28] No space left"),
        (MemoryError("too large"), 2, "error: too large"),
        (KeyError("x"), 4, "KeyError: 'x'"),
    ):

        def run(config, context, failure=failure):
            raise failure

        monkeypatch.setattr("experiments.grad_align.taylor.run", run)
        assert main([*TAYLOR, "--out", str(tmp_path)]) == status
        text = capsys.readouterr()
        assert shown in text.out + text.err
        assert not (tmp_path / "checkpoints").exists()
    with locked("out", tmp_path):
        assert main([*TAYLOR, "--out", str(tmp_path)]) == 2
    assert "out must be a folder that no other process is using" in capsys.readouterr().out


def test_fields_take_lists_and_either_spelling():
    config, options = parse(
        "relaysgd", "quickstart", ["--learning-rates", "0.5", "2", "--num_seeds", "1", "--smoke"]
    )
    assert config.learning_rates == (0.5, 2.0) and config.num_seeds == 1 and options.smoke
    assert options.out == pathlib.Path("runs/relaysgd/quickstart")


TINY = ["--examples", "60", "--rounds", "2", "--evaluations", "1", "--eval_examples", "20"]
SHARING = ["rep_sharing", "digits", *TINY, "--model", "mlp", "--num_seeds", "1", "--clients", "3"]
SHARING += ["--methods", "IL", "FD"]


def test_an_experiment_that_was_killed_goes_on(tmp_path, monkeypatch, capsys):
    def results(folder):
        summary = json.loads((folder / "summary.json").read_text())
        return summary["results"], (folder / "metrics.jsonl").read_text()

    main([*SHARING, "--out", str(tmp_path / "whole")])
    assert not (tmp_path / "whole/checkpoints").exists()
    folder, save, fits = tmp_path / "killed", Store.save, []

    def save_and_die(self, number, saved):
        save(self, number, saved)
        raise SystemExit("killed")

    monkeypatch.setattr(Store, "save", save_and_die)
    with pytest.raises(SystemExit, match="killed"):
        main([*SHARING, "--out", str(folder)])
    monkeypatch.setattr(Store, "save", lambda *args: fits.append(0) or save(*args))
    assert main([*SHARING, "--out", str(folder), "--learning_rate", "0.5"]) == 2
    output = capsys.readouterr().out
    assert "of another configuration: learning_rate was 0.001, now it is 0.5" in output
    main([*SHARING, "--resume", str(folder)])
    assert "Resuming the run in" in capsys.readouterr().out
    assert len(fits) == 1  # the first one was finished
    assert results(folder) == results(tmp_path / "whole")
    assert main([*SHARING, "--resume", str(folder)]) == 2
    assert "resume must be a folder with checkpoints" in capsys.readouterr().out


def test_an_experiment_that_diverges_says_so(tmp_path, capsys):
    wild = [*SHARING, "--learning_rate", "1e30", "--out", str(tmp_path)]
    assert main(wild) == 3
    output = capsys.readouterr().out
    assert "diverged:" in output and "is not finite in round 1 of 2" in output
    assert main([*wild, "--on_divergence", "continue"]) in (0, 1)


def test_lists_of_numbers_are_several_runs(tmp_path, capsys):
    several = ["--learning_rate", "0.01", "0.02", "--seed", "3", "4", "--methods", "IL"]
    main([*SHARING, *several, "--out", str(tmp_path)])
    whole = json.loads((tmp_path / "summary.json").read_text())
    assert whole["config"]["seed"] == ["3", "4"] * 2
    assert [row["learning_rate"] for row in whole["results"]] == [0.01, 0.02]
    parts = [
        json.loads((tmp_path / f"learning_rate=0.01,seed={s}/summary.json").read_text())
        for s in (3, 4)
    ]
    values = [part["results"][0]["accuracy"] for part in parts]
    row = whole["results"][0]
    assert row["accuracy"] == pytest.approx(sum(values) / 2)
    assert "2 runs" not in capsys.readouterr().out.splitlines()[0]
    assert {"method", "clients", "accuracy", "bytes_up"} <= set(row)
    assert main([*SHARING, "--seed", "3", "3", "--out", str(tmp_path)]) == 2
    assert "must not be given the same value twice" in capsys.readouterr().out


def test_runs_of_a_grid_that_have_ended_count(tmp_path, capsys, monkeypatch):
    run = [*SHARING, "--seed", "3", "4", "--out", str(tmp_path)]
    config, _ = parse(*SHARING[:2], [*SHARING[2:], "--seed", "3"])
    folder = tmp_path / "seed=3"
    folder.mkdir()
    summary = {"interrupted": False, "config": plain(dataclasses.asdict(config))}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert grid.unfinished(tmp_path) and grid.finished(folder, config) == summary
    assert grid.finished(folder, dataclasses.replace(config, seed=5)) is None
    assert grid.finished(tmp_path / "seed=4", config) is None
    ran = []

    def trial(paper, preset, config, options, console):
        ran.append(config.seed)
        recorded = {
            "experiment": paper,
            "preset": preset,
            "claims": [],
            "interrupted": len(ran) == 2,
        }
        recorded |= {"config": plain(dataclasses.asdict(config)), "results": [{"accuracy": 1.0}]}
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "summary.json").write_text(json.dumps(recorded))
        return recorded

    monkeypatch.setattr(execution, "execute", trial)
    assert main([*run, "--fresh"]) == 130 and ran == [3, 4]  # the second one is cut short
    assert main(run) == 0 and ran == [3, 4, 4] and "Finished before" in capsys.readouterr().out
    assert main(run) == 0 and ran == [3, 4, 4, 3, 4]  # all of them had ended


def test_event_files_hold_the_log(tmp_path):
    main([*SHARING, "--track", "tensorboard", "--out", str(tmp_path)])
    runs = {folder.name: folder for folder in (tmp_path / "tensorboard").iterdir()}
    assert set(runs) == {"method.IL-clients.3", "method.FD-clients.3"}
    (events,) = runs["method.FD-clients.3"].iterdir()
    data = events.read_bytes()
    assert b"loss/0" in data and b"accuracy/0/2" in data


def test_trackers_that_are_missing_or_unknown_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([*SHARING, "--track", "wandb", "--out", str(tmp_path)]) == 2
    assert 'WandB needs wandb: pip install "jax-collab[tracking]"' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*SHARING, "--track", "paper", "--out", str(tmp_path)])
    assert "tensorboard" in capsys.readouterr().err


def test_trackers_get_every_training_by_its_tags(tmp_path, monkeypatch):
    built = []

    class Book:
        def __init__(self, *arguments, **options):
            built.append((arguments, options))

        def start(self, run):
            built.append(run.num_rounds)

        def record(self, record):
            built.append(record)

        def stop(self, reason):
            built.append(reason)

    for name in ("WandB", "MLflow", "Trackio"):
        monkeypatch.setattr(training, name, Book)
    track = ["--track", "wandb", "mlflow", "trackio", "live"]
    assert main([*SHARING, *track, "--out", str(tmp_path / "trial")]) in (0, 1)
    options = [item[1] for item in built if isinstance(item, tuple)]
    assert [o["name"] for o in options] == 3 * ["method.IL-clients.3"] + 3 * ["method.FD-clients.3"]
    assert options[0]["group"] == options[2]["group"] == "trial"
    assert options[0]["config"]["method"] == "IL" and built.count("finished") == 6
    assert any(isinstance(item, dict) and "loss" in item for item in built)
