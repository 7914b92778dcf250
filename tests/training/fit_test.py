import json
import os
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.training import Diverged, JsonLines, Replicas
from jcollab.training.interrupts import interruptible

KEY = jax.random.key(0)


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


ALGORITHM = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(4)))
ARRAYS = jnp.arange(28.0).reshape(7, 4, 1) / 28
DATA = jc.data.stacked(ARRAYS)
QUIET = {"listeners": ()}


def start():
    return ALGORITHM.init(jnp.zeros((4, 1)))


def fit(**kwargs):
    options = {"num_rounds": 7, **QUIET} | kwargs
    return jc.fit(ALGORITHM, start(), DATA, KEY, **options)


def consensus(state):
    return {"consensus_distance": jc.metrics.consensus_distance(state)}


def test_fit_equals_run_whatever_the_pieces(tmp_path):
    state, log = jc.run(ALGORITHM, start(), DATA, KEY)
    for every in (1, 3, 7, None):
        path = tmp_path / f"{every}.jsonl"
        result = fit(eval_every=every, evaluate=consensus, listeners=[JsonLines(path)])
        chex.assert_trees_all_close(result.state, state, rtol=1e-6)  # of loops of other lengths
        np.testing.assert_allclose(result.log["loss"], log["loss"], rtol=1e-6)
        assert result.stopped == "finished"
        rounds = [0, *range(every or 1, 7, every or 1), 7]
        assert result.evaluations["round"].tolist() == rounds
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["round"] for line in lines] == rounds
        np.testing.assert_allclose(
            lines[-1]["consensus_distance"], result.evaluations["consensus_distance"][-1]
        )
    np.testing.assert_allclose(lines[1]["loss"], log["loss"][0])


def test_fit_goes_on_from_a_state_and_spares_it():
    half, _ = jc.run(ALGORITHM, start(), DATA, KEY, num_rounds=3)
    whole = fit()
    on = jc.fit(ALGORITHM, half, DATA, KEY, num_rounds=7, eval_every=2, **QUIET)
    chex.assert_trees_all_close(on.state, whole.state, rtol=1e-6)
    assert not half.clients.params.is_deleted()
    with pytest.raises(ValueError, match="num_rounds must be above 7, the rounds of the state"):
        jc.fit(ALGORITHM, on.state, DATA, KEY, num_rounds=7, **QUIET)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_what_was_measured(number):
    def evaluate(state):
        if int(state.step) == 4:
            os.kill(os.getpid(), number)
        return consensus(state)

    before = signal.getsignal(number)
    with interruptible() as around:  # work that the run is a part of stops with it
        result = fit(eval_every=2, evaluate=evaluate)
        assert around.is_set() and signal.getsignal(number) is before
    assert result.stopped == "interrupted" and result.state.step == 4
    assert result.log["loss"].shape == (4,)
    assert result.evaluations["round"].tolist() == [0, 2, 4]
    assert signal.getsignal(number) is before


def test_a_run_that_diverges_says_in_which_round(tmp_path):
    data = jc.data.stacked(ARRAYS.at[4].set(jnp.inf))
    options = {"num_rounds": 7, "eval_every": 3}
    with pytest.raises(Diverged, match="loss is not finite in round 5 of 7") as caught:
        jc.fit(ALGORITHM, start(), data, KEY, listeners=[JsonLines(tmp_path / "log")], **options)
    assert caught.value.result.log["loss"].shape == (6,)
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["loss"] is None
    result = jc.fit(ALGORITHM, start(), data, KEY, on_divergence="continue", **options, **QUIET)
    assert result.stopped == "finished" and not np.isfinite(result.log["loss"][-1])


def test_replicas_equal_separate_runs():
    def build(rate):
        return jc.decentralized(loss, optax.inject_hyperparams(optax.sgd)(rate), jc.all_reduce())

    rates, keys = jnp.array([0.1, 0.2]), jax.random.split(KEY, 2)
    data = jc.data.by_client(jnp.arange(8.0)[:, None], jc.data.iid(8, 4))
    batches = jc.data.minibatches(data, 2)
    states = jax.vmap(lambda r: build(r).init(jnp.zeros((4, 1))))(rates)
    together = jc.fit(
        build(0.0), states, batches, keys, num_rounds=5, evaluate=consensus, eval_every=2,
        replicas=Replicas(), **QUIET,
    )  # fmt: skip
    assert together.log["loss"].shape == (2, 5)
    assert together.evaluations["consensus_distance"].shape == (4, 2)
    for i in range(2):
        one = build(rates[i])
        alone = jc.fit(one, one.init(jnp.zeros((4, 1))), batches, keys[i], num_rounds=5, **QUIET)
        np.testing.assert_allclose(together.log["loss"][i], alone.log["loss"], rtol=1e-5)


def test_settings_build_an_algorithm_for_each_replica():
    """What no state holds, such as a mixing weight, differs between the replicas as well."""

    def build(factor):
        scale = jc.mixing.stateless(lambda x, context: factor * x)
        return jc.decentralized(loss, optax.sgd(0.1), scale)

    factors, keys = jnp.array([0.5, 2.0]), jax.random.split(KEY, 2)
    states = jax.vmap(lambda s: build(s).init(jnp.ones((4, 1))))(factors)
    options = {"num_rounds": 3, **QUIET}
    together = jc.fit(build, states, DATA, keys, replicas=Replicas(factors), **options)
    for i in range(2):
        one = jc.fit(build(factors[i]), start_of(states, i), DATA, keys[i], **options)
        chex.assert_trees_all_close(start_of(together.state, i), one.state, rtol=1e-6)
    with pytest.raises(TypeError, match="algorithm must be an Algorithm, or with settings"):
        jc.fit(build, states, DATA, keys, replicas=Replicas(), **options)
    with pytest.raises(TypeError, match="algorithm must be an Algorithm, or with settings"):
        jc.fit(build(0.5), states, DATA, keys, replicas=Replicas(factors), **options)


def start_of(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def test_curves_of_a_run_are_drawn(tmp_path):
    result = fit(evaluate=lambda s: {**consensus(s), "models": s.clients.params}, eval_every=2)
    figure = jc.plots.curves(result)
    jc.plots.save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert [ax.get_title() for ax in figure.axes] == ["consensus distance"]
    with pytest.raises(ValueError, match=r"names must be among \['consensus_distance'\]"):
        jc.plots.curves(result, "accuracy")


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="num_rounds must be at least 1, got 0"):
        fit(num_rounds=0)
    with pytest.raises(ValueError, match="eval_every must be at least 1, got 0"):
        fit(eval_every=0)
    with pytest.raises(ValueError, match=r"on_divergence must be one of .*, got 'panic'"):
        fit(on_divergence="panic")
    with pytest.raises(ValueError, match="num_rounds must be at most 7, since batches has"):
        fit(num_rounds=8)
    with pytest.raises(TypeError, match="batches must be made by jcollab.data"):
        jc.fit(ALGORITHM, start(), ARRAYS, KEY, num_rounds=7)
    with pytest.raises(ValueError, match="offload needs an algorithm whose rounds touch only"):
        fit(offload=True)


def test_a_run_that_cannot_fit_is_refused_before_it_starts(monkeypatch):
    algorithm = jc.decentralized(
        lambda w, b, k: jnp.sum((w - b) ** 2), optax.sgd(0.1), jc.identity()
    )
    state, batches = algorithm.init(jnp.zeros((2, 3))), jnp.ones((4, 2, 3))
    monkeypatch.setattr("jcollab.layout.memory.free_memory", lambda: 10)
    with pytest.raises(MemoryError, match=r"needs about .* GiB are free; .*chunk="):
        jc.fit(
            algorithm,
            state,
            jc.data.stacked(batches),
            jax.random.key(0),
            num_rounds=4,
            **QUIET,
        )


@pytest.mark.parametrize("mixer", [jc.all_reduce(), jc.relay_sum(jc.topology.chain(8))])
def test_fit_over_several_devices_equals_one(mixer):
    def loss(w, batch, key):
        return jnp.sum((w - batch) ** 2)

    algorithm = jc.decentralized(loss, optax.sgd(0.1, momentum=0.9), mixer)
    state, batches = algorithm.init(jnp.zeros((8, 3))), jc.data.stacked(jnp.ones((6, 8, 3)) / 3)
    run = {"num_rounds": 6, "eval_every": 2, **QUIET}
    expected = jc.fit(algorithm, state, batches, jax.random.key(0), **run)
    with jc.layout.use(jc.layout.mesh()) as mesh:
        placed = jc.layout.place(state, mesh)
        got = jc.fit(algorithm, placed, batches, jax.random.key(0), **run)
    chex.assert_trees_all_close(jax.device_get(got.state), expected.state, atol=1e-6)
    np.testing.assert_allclose(got.log["loss"], expected.log["loss"], rtol=1e-5)


def test_models_that_a_state_computes_are_watched_for_every_replica():
    """Personal models of APFL are a property of its clients, which averages two parts."""
    algorithm = jc.algorithms.apfl(loss, optax.sgd(0.1), jc.all_reduce())
    keys = jax.random.split(KEY, 3)
    states = jax.vmap(lambda key: algorithm.init(jnp.zeros((4, 1))))(keys)
    options = {"num_rounds": 7, "replicas": Replicas(), **QUIET}
    result = jc.fit(algorithm, states, DATA, keys, **options)
    single, _ = jc.run(algorithm, algorithm.init(jnp.zeros((4, 1))), DATA, keys[0])
    one = jax.tree.map(lambda leaf: leaf[0], result.state)
    chex.assert_trees_all_close(jc.params_of(one), jc.params_of(single), atol=1e-6)
    wild = jc.algorithms.apfl(loss, optax.sgd(1e30), jc.all_reduce())
    with pytest.raises(Diverged, match="not finite"):
        jc.fit(wild, states, DATA, keys, **options)


def test_batches_may_be_chosen_before_each_piece():
    """Here the arrays of each piece alone, as where not all of them fit."""
    steps = []

    def piece(state):
        steps.append(int(state.step))
        first = steps[-1]
        return jc.data.from_function(pick, (ARRAYS[first : first + 2], first))

    def pick(data, key, step):
        arrays, first = data
        return arrays[step - first]

    result = jc.fit(ALGORITHM, start(), piece, KEY, num_rounds=6, eval_every=2, **QUIET)
    assert steps == [0, 2, 4]
    expected = fit(num_rounds=6, eval_every=2).state
    chex.assert_trees_all_close(result.state, expected, rtol=1e-6)
