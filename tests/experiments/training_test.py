"""The harness of experiments against one run after the other."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.progress import Progress

import jcollab as jc
from experiments.contract import Context
from experiments.training import Tune, partitions, train_replicas

N, ROUNDS, SEEDS = 3, 4, (5, 7)
RATES = (0.05, 0.4, 1e30)


def loss(params, batch, key):
    return jnp.mean((params - batch.x) ** 2)


def build(setting):
    return jc.decentralized(loss, optax.sgd(setting["rate"]), jc.all_reduce())


def start(algorithm, key):
    return algorithm.init(jc.replicate(jax.random.normal(key, (2,)), N))


def evaluate(state):
    error = jnp.mean(jc.params_of(state) ** 2)
    return {"validation": 1 / (1 + error), "client_error": (jc.params_of(state) ** 2).mean(1)}


def examples():
    rng = np.random.default_rng(0)
    return jc.data.Dataset(rng.normal(size=(12, 2)).astype(np.float32), np.zeros(12, int))


def parts(seed):
    return jc.data.iid(12, N, seed=seed)


@pytest.fixture
def context(tmp_path):
    with Progress(disable=True) as progress:
        yield Context(tmp_path, progress, smoke=True)


def train(context, **options):
    arguments = {
        "rounds": ROUNDS,
        "seeds": SEEDS,
        "settings": {"rate": RATES},
        "evaluate": evaluate,
        "evaluations": 2,
        "tags": {"method": "ours"},
    } | options
    data = partitions([parts(seed) for seed in SEEDS], examples())
    return train_replicas(context, build, start, jc.data.minibatches(data, 2), **arguments)


def test_runs_side_by_side_equal_runs_one_by_one(context):
    done = train(context, tune=Tune("validation"))
    for k, rate in enumerate(RATES[:2]):
        for s, seed in enumerate(SEEDS):
            algorithm, key = build({"rate": rate}), jax.random.key(seed)
            single, log = jc.run(
                algorithm,
                start(algorithm, key),
                jc.data.minibatches(jc.data.by_client(examples(), parts(seed)), 2),
                key,
                num_rounds=ROUNDS,
            )
            np.testing.assert_allclose(
                jc.params_of(done.state(k))[s], jc.params_of(single), rtol=1e-5
            )
            np.testing.assert_allclose(done.log(k)["loss"][s], log["loss"], rtol=1e-5)
            np.testing.assert_allclose(
                done.last(k)["client_error"][s], evaluate(single)["client_error"], rtol=1e-5
            )
    curves = done.curves(0)
    assert curves["round"].tolist() == [0, 2, 4] and curves["client_error"].shape == (2, 3, N)
    assert done.finished and not context.stop.is_set()


def test_the_best_setting_is_chosen_and_logged(context):
    done = train(context, tune=Tune("validation"))
    scores = [done.last(k)["validation"].mean() for k in range(2)]
    assert done.best == int(np.argmax(scores))  # the third one diverges, and counts as 0
    assert done.setting() == {"rate": RATES[done.best]}
    np.testing.assert_array_equal(done.last()["validation"], done.last(done.best)["validation"])
    measured = done.measure(lambda state: {"step": state.step})
    assert measured["step"].tolist() == [ROUNDS] * 2
    lines = [json.loads(line) for line in (context.out / "metrics.jsonl").open()]
    assert lines[-1]["chosen"] == {"rate": RATES[done.best]} and lines[-1]["method"] == "ours"
    assert lines[0]["rate"] == [r for r in RATES for _ in SEEDS] and lines[0]["seed"] == [5, 7] * 3
    assert "chosen" not in lines[-2]


def test_the_mean_over_the_last_evaluations_may_choose(context):
    done = train(context, tune=Tune("validation", last=3), settings={"rate": RATES[:2]})
    means = [done.curves(k)["validation"].mean() for k in range(2)]
    assert done.best == int(np.argmax(means))


def test_a_single_setting_needs_no_settings(context):
    done = train_replicas(
        context,
        lambda setting: build({"rate": 0.4}),
        start,
        jc.data.minibatches(partitions([parts(seed) for seed in SEEDS], examples()), 2),
        rounds=2,
        seeds=SEEDS,
        fold=3,
    )
    assert done.best is None and done.settings is None
    assert jc.params_of(done.state()).shape == (2, N, 2)
    other = train(context, settings={"rate": (0.4,)}, rounds=2)
    assert not np.allclose(jc.params_of(done.state()), jc.params_of(other.state()))  # other keys
    again = train(context, settings={"rate": (0.4,)}, rounds=2, fold=3)
    np.testing.assert_allclose(jc.params_of(done.state()), jc.params_of(again.state()), rtol=1e-6)


def test_states_and_data_of_every_run_may_be_given(context):
    first = train(context, settings={"rate": RATES[:2]}, rounds=2)
    state = first.result.state
    data = jc.data.minibatches(partitions([parts(seed) for seed in SEEDS * 2], examples()), 2)
    settings = {"rate": RATES[:2]}
    options = {"rounds": 4, "seeds": SEEDS, "settings": settings}
    done = train_replicas(context, build, state, data, **options)
    whole = train(context, settings=settings)
    np.testing.assert_allclose(
        jc.params_of(done.result.state), jc.params_of(whole.result.state), rtol=1e-5
    )


def test_what_cannot_be_is_refused(context):
    with pytest.raises(ValueError, match="metric must be measured on validation data"):
        Tune("test_accuracy")
    with pytest.raises(ValueError, match="last must be at least 1, got 0"):
        Tune("validation", last=0)
    with pytest.raises(
        ValueError, match="metric must be one of client_error, validation, got 'other'"
    ):
        train(context, tune=Tune("other"), rounds=2)
    done = train(context, rounds=2, tolerant=True)
    with pytest.raises(ValueError, match=r"k must be given without tuning, in 0\.\.2"):
        done.state()


def test_the_last_state_of_every_seed(context):
    done = train(context, settings={"rate": (0.4,)}, rounds=2)
    each = done.each()
    assert len(each) == len(SEEDS)
    for s, state in enumerate(each):
        np.testing.assert_array_equal(jc.params_of(state), jc.params_of(done.state())[s])
