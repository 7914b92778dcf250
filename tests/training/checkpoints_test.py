import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.training import Checkpoint, Diverged, JsonLines, NotSaved, Replicas
from jcollab.training.checkpoints import Saved, Store
from tests import REFERENCE, ROOT
from tests.contract import KEY, make, problem

SCRIPT = REFERENCE / "killed.py"
ALGORITHM = jc.decentralized(
    lambda p, b, k: jnp.mean((p - b) ** 2), optax.adam(0.1), jc.gossip(jc.topology.ring(4))
)
ARRAYS = jnp.arange(48.0).reshape(12, 4, 1) / 28
DATA = jc.data.stacked(ARRAYS)


def fit(folder=None, log=None, *, data=DATA, every_seconds=0, identity=None, **options):
    state = ALGORITHM.init(jnp.zeros((4, 1)))
    options = {"num_rounds": 7, "eval_every": 2, "evaluate": evaluate} | options
    checkpoint = folder and Checkpoint(folder, every_seconds, identity)
    listeners = [JsonLines(log)] if log else []
    return jc.fit(
        ALGORITHM, state, data, KEY, checkpoint=checkpoint, listeners=listeners, **options
    )


def evaluate(state):
    return {"distance": jc.metrics.consensus_distance(state), "inner": {"w": state.clients.params}}


def equal(got, expected):
    chex.assert_trees_all_equal(got.state, expected.state)
    chex.assert_trees_all_equal(got.log, expected.log)
    chex.assert_trees_all_equal(got.evaluations, expected.evaluations)
    assert got.stopped == expected.stopped


def numbers(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_run_goes_on_and_a_finished_one_returns_what_it_was(tmp_path):
    expected = fit(log=tmp_path / "expected")
    folder, log = tmp_path / "run", tmp_path / "log"
    part = fit(folder, log, num_rounds=4)
    assert part.state.step == 4 and numbers(folder) == ["2", "4"]
    for _ in range(2):
        equal(fit(folder, log), expected)
        assert log.read_text() == (tmp_path / "expected").read_text()
    assert numbers(folder) == ["6", "7"]


@pytest.mark.parametrize("eval_every", [1, 3, 5, None])
def test_a_finished_run_that_is_asked_for_more_is_one_long_run(eval_every, tmp_path):
    """Its last evaluation, which the long run does not have, is left out again."""
    folder, log = tmp_path / "run", tmp_path / "log"
    # without eval_every, that of the first run stays: 7 // 20, at least 1
    expected = fit(log=tmp_path / "expected", num_rounds=12, eval_every=eval_every or 1)
    for rounds in (7, 8, 12, 12):
        got = fit(folder, log, num_rounds=rounds, eval_every=eval_every)
        assert got.state.step == rounds and got.evaluations["round"][-1] == rounds
    equal(got, expected)
    assert log.read_text() == (tmp_path / "expected").read_text()
    with pytest.raises(ValueError, match="num_rounds must be at least 12, the rounds of check"):
        fit(folder, num_rounds=11, eval_every=eval_every)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(number, tmp_path):
    def kill(state):
        if int(state.step) == 4:
            os.kill(os.getpid(), number)
        return evaluate(state)

    folder, log = tmp_path / "run", tmp_path / "log"
    part = fit(folder, log, evaluate=kill, every_seconds=1e6)
    assert part.stopped == "interrupted" and numbers(folder) == ["4"]
    equal(fit(folder, log), fit(log=tmp_path / "expected"))
    assert log.read_text() == (tmp_path / "expected").read_text()


def test_pieces_that_were_not_saved_are_done_again(tmp_path):
    folder = tmp_path / "run"
    fit(folder, num_rounds=2)
    again = fit(folder, every_seconds=1e6)  # saves at its end only
    assert numbers(folder) == ["2", "7"]
    equal(again, fit())


def damage(place):
    data = [p for p in place.rglob("*") if p.is_file() and "state" in str(p) and p.stat().st_size]
    for path in data:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path):
    folder = tmp_path / "run"
    expected = fit(folder)
    damage(folder / "7")
    with pytest.warns(UserWarning, match=r"run/7 is damaged .*the previous one is used"):
        equal(fit(folder), expected)
    assert numbers(folder) == ["6", "7", "damaged-7"]
    for name in ("6", "7"):
        damage(folder / name)
    with (
        pytest.warns(UserWarning, match=r"run/(6|7) is damaged"),
        pytest.raises(ValueError, match="must have one that can be read"),
    ):
        fit(folder)


def test_a_checkpoint_of_another_run_is_refused_with_the_field(tmp_path):
    folder = tmp_path / "run"
    same = {"identity": {"rate": 0.1, "model": "mlp"}}
    for _ in range(2):
        fit(folder, **same)
    for other, message in (
        ({"identity": {"rate": 0.2, "model": "mlp"}}, "rate was 0.1, now it is 0.2"),
        ({"identity": {"rate": 0.1}}, "model was 'mlp', now it is None"),
        ({"eval_every": 3}, "eval_every was 2, now it is 3"),
    ):
        with pytest.raises(ValueError, match=f"is of another run: {message}"):
            fit(folder, **same | other)
    state = ALGORITHM.init(jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"state.clients.params was 'float32\[4,1\]', now"):
        jc.fit(
            ALGORITHM, state, DATA, KEY, num_rounds=7, eval_every=2, listeners=(),
            checkpoint=Checkpoint(folder, **same),
        )  # fmt: skip
    with pytest.raises(ValueError, match="every_seconds must be at least 0, got -1"):
        Checkpoint(folder, every_seconds=-1)


def test_what_does_not_come_back_as_it_was_is_refused(tmp_path):
    for value, named in (
        ((1, 2), "tuple as .'pair'."),
        ("good", "str as .'pair'."),
        (None, "None"),
    ):
        with pytest.raises(TypeError, match=f"nested dicts of arrays of numbers, got a {named}"):
            fit(tmp_path / "run", evaluate=lambda s, value=value: {"pair": value})
    grows = lambda s: {"a": np.zeros(int(s.step))}  # noqa: E731
    with pytest.raises(ValueError, match=r"same names and shapes, got \['a'\] was 'float"):
        fit(evaluate=grows)
    with pytest.raises(TypeError, match="tags must be a dictionary of JSON values"):
        JsonLines(tmp_path / "log", tags={"net": len})
    with pytest.raises(ValueError, match="evaluate must not return 'round'"):
        fit(tmp_path / "run", evaluate=lambda s: {"round": s.step})


def never(state, batch, key):
    raise AssertionError("a round was traced")


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        (
            lambda f: {"checkpoint": Checkpoint(f / "file")},
            "checkpoint must be a folder, got the f",
        ),
        (lambda f: {"checkpoint": Checkpoint(f / "file/in")}, "Not a directory"),
        (lambda f: {"checkpoint": f}, "checkpoint must be a Checkpoint, got PosixPath"),
        (lambda f: {"checkpoint": Checkpoint(3)}, "folder must be a path, got int"),
        (
            lambda f: {"checkpoint": Checkpoint(f, identity={"net": len})},
            "identity must be a dictionary of JSON values, got Object of type builtin_function",
        ),
        (
            lambda f: {"checkpoint": Checkpoint(f, identity={"key": 1})},
            "identity must not have .'key'",
        ),
        (lambda f: {"listeners": [JsonLines(f)]}, "Is a directory"),
        (lambda f: {"listeners": [JsonLines(f, append=True)]}, "Is a directory"),
        (lambda f: {"listeners": [JsonLines(f / "none/log")]}, "No such file"),
        (
            lambda f: {"listeners": [JsonLines]},
            r"listeners\[0\] must be an object .* got JsonLines",
        ),
        (lambda f: {"listeners": ["log"]}, r"listeners\[0\] must be an object .* got str"),
        (
            lambda f: {"listeners": JsonLines(f / "log")},
            "listeners must be a list of listeners, got Json",
        ),
        (lambda f: {"evaluate": "accuracy"}, "evaluate must be a function, got str"),
    ],
)
def test_what_can_be_known_is_checked_before_the_first_round(argument, error, tmp_path):
    (tmp_path / "file").write_text("")
    algorithm = jc.Algorithm(ALGORITHM.init, never)
    state = algorithm.init(jnp.zeros((4, 1)))
    with pytest.raises((TypeError, ValueError, OSError), match=error):
        options = {"listeners": ()} | argument(tmp_path)
        jc.fit(algorithm, state, DATA, KEY, num_rounds=7, **options)


def test_one_process_uses_a_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    code = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print(1, flush=True)"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    other.stdout.readline()
    with pytest.raises(ValueError, match="checkpoint must be a folder that no other process is us"):
        fit(folder)
    other.kill()
    other.wait()
    fit(folder, num_rounds=2)
    fit(folder, num_rounds=3)


def test_a_full_disk_costs_checkpoints_but_no_result(tmp_path, monkeypatch):
    write = Store.save

    def save(store, number, saved):
        if number >= full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(store, number, saved)

    monkeypatch.setattr(Store, "save", save)
    full, expected = 4, fit()
    with (
        pytest.warns(
            UserWarning, match=r"round 4 could not be saved .*No space.*; the run continues"
        ),
        pytest.raises(NotSaved, match="round 7 could not be saved") as caught,
    ):
        fit(tmp_path / "run")
    equal(caught.value.result, expected)
    full = 99
    equal(fit(tmp_path / "run"), expected)


def test_one_byte_that_changed_is_found(tmp_path):
    """Of the records, and of an array."""
    folder = tmp_path / "run"
    expected = fit(folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    about = folder / "7" / "about" / "metadata"
    about.write_text(about.read_text().replace('"distance"', '"distancf"', 1))
    with pytest.warns(UserWarning, match="7 is damaged .*checksum of its records"):
        equal(fit(folder), expected)
    arrays = max((copy / "7").rglob("*"), key=lambda p: p.is_file() and p.stat().st_size)
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 1
    arrays.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="7 is damaged"):
        equal(fit(copy), expected)


def test_a_metric_is_an_evaluation(tmp_path):
    """An array has the name of its function, as in ``with_metrics``; with replicas, one each."""
    options = {"num_rounds": 2, "eval_every": 1, "evaluate": jc.metrics.consensus_distance}
    got = fit(tmp_path / "run", **options)
    assert got.evaluations.keys() == {"round", "consensus_distance"}
    assert got.evaluations["consensus_distance"].shape == (3,)


def test_replicas_and_settings_go_on_too(tmp_path):
    def build(factor):
        return jc.decentralized(
            lambda p, b, k: jnp.mean((p - b) ** 2),
            optax.sgd(0.1),
            jc.mixing.stateless(lambda x, context: factor * x),
        )

    factors, keys = jnp.array([0.5, 0.9]), jax.random.split(KEY, 2)
    states = jax.vmap(lambda s: build(s).init(jnp.ones((4, 1))))(factors)
    options = {"replicas": Replicas(factors), "listeners": (), "eval_every": 2}
    expected = jc.fit(build, states, DATA, keys, num_rounds=7, **options)
    options |= {"checkpoint": Checkpoint(tmp_path / "run", 0)}
    jc.fit(build, states, DATA, keys, num_rounds=4, **options)
    equal(jc.fit(build, states, DATA, keys, num_rounds=7, **options), expected)


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(tmp_path):
    data = jc.data.stacked(ARRAYS.at[4, 2].set(jnp.nan))
    folder = tmp_path / "run"
    message = (
        r"loss is not finite in round 5 of 7 \(clients 0, 1, 2, 3\).*checkpoints until then: .*run"
    )
    with pytest.raises(Diverged, match=message):
        fit(folder, data=data)
    assert numbers(folder) == ["2", "4"]
    result = fit(folder, tmp_path / "log", data=data, on_divergence="continue")
    assert result.stopped == "finished"
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["round"] for line in lines if line.get("diverged")] == [6, 7]


def test_models_that_are_not_finite_are_detected_without_a_metric():
    algorithm = jc.decentralized(
        lambda p, b, k: (jnp.float32(0), {}),
        optax.GradientTransformation(
            lambda p: (), lambda g, s, p: (jnp.where(p > 2, jnp.nan, g + 1), s)
        ),
        jc.identity(),
    )
    state = algorithm.init(jnp.array([0.0, 1.5, -9.0])[:, None])
    with pytest.raises(Diverged, match=r"models are not finite after round 2 of 4 \(client 1\)"):
        jc.fit(
            algorithm,
            state,
            jc.data.stacked(ARRAYS[:4, :3]),
            KEY,
            num_rounds=4,
            eval_every=2,
            listeners=(),
        )


@pytest.mark.parametrize(
    "name", ["RelaySGD", "asynchronous", "SCAFFOLD of some", "attacked, late and lossy"]
)
def test_states_come_back_as_they_were(name, tmp_path):
    algorithm, (params, _) = make(name), problem()
    state = algorithm.init(params)
    store = Store(tmp_path / name, {})
    store.save(1, Saved(state, {"loss": np.arange(3.0)}, {}, [{"round": 1}]))
    saved = store.newest(state)
    store.close()
    chex.assert_trees_all_equal(saved.state, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(saved.state, state)
    assert saved.records == [{"round": 1}] and saved.log["loss"].tolist() == [0, 1, 2]


def run(name, folder, out, rounds, kind, kill_after=None):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), name, str(folder), str(out), str(rounds), kind]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        if kill_after is None:
            output = process.communicate(timeout=300)[1]
            assert process.returncode == 0, output
            return
        begun = time.monotonic()
        while process.poll() is None and not (folder / "run").exists():
            assert time.monotonic() - begun < 300
            time.sleep(0.01)
        time.sleep(kill_after)
        process.kill()
        process.communicate()


def killed_and_resumed(name, folder, kills, rounds, seed=0, kind="stacked"):
    """Kills a run ``kills`` times, lets it end, and compares it with one that was let alone."""
    rng = np.random.default_rng(seed)
    run(name, folder / "alone", folder / "expected", rounds, kind)
    for _ in range(kills):
        run(name, folder / "killed", folder / "got", rounds, kind, rng.uniform(0, 3))
    run(name, folder / "killed", folder / "got", rounds, kind)
    expected, got = np.load(folder / "expected.npz"), np.load(folder / "got.npz")
    assert sorted(expected) == sorted(got)
    for key in expected:
        np.testing.assert_array_equal(got[key], expected[key], err_msg=key)
    assert (folder / "got.jsonl").read_bytes() == (folder / "expected.jsonl").read_bytes()
    shutil.rmtree(folder / "killed")


def test_a_killed_run_goes_on_bitwise(tmp_path):
    killed_and_resumed("RelaySGD", tmp_path, kills=1, rounds=40)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, kills", [("RelaySGD", 7), ("SCAFFOLD of some", 7), ("attacked, late and lossy", 6)]
)
def test_twenty_kills_lose_nothing(name, kills, tmp_path):
    killed_and_resumed(name, tmp_path, kills, rounds=150)
