"""The searches of the experiments on critical parameters, where the answer is known."""

import json
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from experiments.critical_params import (
    _common,
    batch,
    delay,
    estimate,
    logistic,
    network,
    sparse,
    wall_clock,
)
from tests import REFERENCE

FILE = REFERENCE / "critical_params/refs.json"
STORED = json.loads(FILE.read_text())


def context():
    return types.SimpleNamespace(stop=threading.Event())


def test_fits_find_the_parameter_that_made_the_data():
    batches, delays = np.array([1, 4, 16, 64, 256]), np.array([0, 3, 10, 30, 100])
    for c in (2.0, 9.0, 150.0):
        assert _common.fit("batch", batches, 7 * (1 + c / batches)) == pytest.approx(c, rel=0.02)
        made = np.where(delays > 0, _common.slowdown(delays / (1 + c)), 1.0)
        assert _common.fit("delay", delays, 7 * made) == pytest.approx(c, rel=0.03)
    # the curve is that of the exact second moments
    for row in STORED["delayed_multiplicative"]:
        if row["M"] and row["tau"]:
            measured = _common.slowdown(row["tau"] / (1 + row["M"]))
            assert measured == pytest.approx(row["slowdown_vs_tau0"], rel=0.02)
    assert _common.slowdown(1e-6) == pytest.approx(1, abs=1e-5)
    assert _common.slowdown(40.0) == pytest.approx(2 * _common.slowdown(20.0))


def test_tuning_finds_the_best_learning_rate():
    """Gradient descent on f = x^2 from a guess that is far too small."""

    def loss(params, batch, key):
        return jnp.sum(params**2) + 0 * batch.x.sum()

    def problem(max_steps):
        examples = jc.data.Dataset(np.zeros((1, 1), np.float32), np.zeros(1, np.int32))
        return _common.Problem("p", loss, examples, jnp.ones(2), 0.0, 2e-3, max_steps)

    def build(rate):
        return jc.centralized(loss, optax.sgd(rate))

    seeds = jax.random.split(jax.random.key(0), 2)
    tuned = _common.tune(problem(1000), build, 0.3 / 8, seeds, context())
    # among 0.3 * 2^(k/2), 0.42 is nearest to the best, 1/2: a factor .16 each step
    assert tuned.learning_rate == pytest.approx(0.3 * 2**0.5, rel=1e-5)
    assert tuned.steps == pytest.approx(np.log(1e-3) / np.log((1 - 0.6 * 2**0.5) ** 2), rel=0.01)
    assert tuned.params.shape == (2, 2)
    assert _common.tune(problem(2), build, 1e-4, seeds, context()) is None


def test_estimates_equal_numpy():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    examples = jc.data.Dataset(x, np.zeros(20, np.int32))

    def loss(params, batch, key):
        return 0.5 * jnp.mean((batch.x @ params) ** 2)

    target = 0.1
    problem = _common.Problem("p", loss, examples, w, 0.0, target, 1)
    # runs that do not move
    still = _common.Tuned(20.0, 0.0, w[None])
    row = _common.estimate(problem, still, jax.random.split(jax.random.key(0), 8))
    grads, hessian = x * (x @ w)[:, None], x.T @ x / 20
    covariance, mean = np.cov(grads.T, bias=True), grads.mean(0)
    noise, largest = np.trace(covariance), np.linalg.eigvalsh(hessian)[-1]
    assert row["estimated"] == pytest.approx(noise / (2 * largest * target), rel=0.02)
    assert row["pointwise"] == pytest.approx(noise / (mean @ mean), rel=1e-3)
    exact = np.trace(hessian @ covariance) / (mean @ hessian @ mean)
    assert row["curvature"] == pytest.approx(exact, rel=0.1)  # of random probes
    size, steep, noisy = _common.along(problem, still, jax.random.split(jax.random.key(0), 2)).T
    np.testing.assert_allclose(size, mean @ mean, rtol=1e-4)
    np.testing.assert_allclose(steep, mean @ hessian @ mean, rtol=1e-4)
    assert len(size) == _common.POINTS and noisy.std() > 0


def test_a_missed_knee_does_not_hold():
    def rows(c):
        made = [
            {"problem": "p", "kind": "batch", "size": b, "steps": 3 * (1 + c / b)}
            for b in (1, 8, 64)
        ]
        estimates = {"estimated": 10.0, "curvature": 20.0}
        return [*made, {"problem": "p", "kind": "estimate"} | estimates]

    (near, _), (far, other) = (_common.claims(None, rows(c)) for c in (15.0, 25.0))
    assert near.holds and not far.holds and other.holds
    assert far.measured == pytest.approx(0.4, rel=0.02)
    assert other.measured == pytest.approx(0.8, rel=0.02)


def test_presets_refuse_bad_values():
    for bad, message in (
        (lambda: batch.Config(batches=(0,)), r"batches must be at least 1, got \(0,\)"),
        (lambda: delay.Config(delays=(-1, 0)), "delays must be at least 0"),
        (lambda: delay.Config(delays=(1,)), "delays must contain 0"),
        (lambda: sparse.Config(densities=(0.0,)), "densities must be above 0 and at most 1"),
        (lambda: estimate.Config(large=10), "large must be in small"),
        (lambda: wall_clock.Config(clients=(2,)), "clients must contain 1"),
        (lambda: logistic.Config(target=1.0), "target must be above 0 and below 1"),
        (lambda: network.Config(losses=(0.1, 0.2)), "losses must be falling"),
    ):
        with pytest.raises(ValueError, match=message):
            bad()


def test_the_number_of_clients_at_which_each_is_half_as_useful():
    rows = [{"n": n, "steps": (1 + 6 / n)} for n in (1, 2, 4, 8, 16)]
    assert wall_clock.half_as_useful(rows, "synchronous") == pytest.approx(8)
    rows = [{"n": n, "steps": 1 + (n - 1) / 7} for n in (1, 2, 4, 8, 16)]
    assert wall_clock.half_as_useful(rows, "asynchronous") == pytest.approx(8)
    assert wall_clock.half_as_useful(rows[:2], "asynchronous") is None


def test_the_recorded_tables_hold():
    config = batch.Config()
    checked = [*batch.claims(config, batch.exact(config))]
    assert len(checked) == 8 and all(claim.holds for claim in checked)
