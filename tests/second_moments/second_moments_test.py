"""Exact recursions against recorded tables, closed forms, brute force and Monte Carlo."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import second_moments as sm
from tests import REFERENCE

KEY = jax.random.key(0)
FILE = REFERENCE / "critical_params/refs.json"
STORED = json.loads(FILE.read_text())


def test_recorded_delays():
    for row in STORED["delayed_multiplicative"]:
        rate = sm.mean_square_rate(row["gamma_best"], noise_ratio=row["M"], delay=row["tau"])
        assert rate == pytest.approx(row["rate"], abs=1e-9)
    for row in STORED["delayed_multiplicative"]:
        if row["M"] and row["tau"] <= 30:
            best = sm.tuned(row["M"], delay=row["tau"])
            assert best.steps == pytest.approx(row["T_1e6"], rel=1e-4)
            assert best.learning_rate == pytest.approx(row["gamma_best"], rel=0.01)
    case = STORED["delay_mc"]
    moments = sm.delayed_moments(case["gamma"], 200, noise_ratio=9, delay=10)
    np.testing.assert_allclose(moments[[50, 100, 200]], case["exact_t50_100_200"], rtol=1e-8)
    np.testing.assert_allclose(moments[200] / moments[199], case["asymptotic_rate_gram"], rtol=1e-4)


def test_recorded_batches():
    for row in STORED["minibatch_closed_form"]:
        best = sm.tuned(row["M"], batch_size=row["b"])
        assert best.learning_rate == pytest.approx(row["gamma_star"], rel=1e-12)
        assert best.rate == pytest.approx(row["rate"], rel=1e-12)
    for row in STORED["minibatch_additive"]:
        if row["sigma2"] and row["T"] > 0.9:
            best = sm.tuned_additive(row["M"], 1.0, row["eps"], batch_size=row["b"])
            assert best.steps == pytest.approx(row["T"], rel=0.005)
    # least squares of condition 50, over the grid of the recorded numbers
    grid, log = np.geomspace(1e-3, 2, 400), np.geomspace(1, 1 / 50, 50)
    for b, steps in ((1, 2848), (8, 441.7), (32, 207.1), (128, 179.5), (4096, 175.9)):
        found = sm.tuned_gaussian(log, batch_size=b, grid=grid)
        assert found.steps == pytest.approx(steps, rel=1e-3)
    spiked = np.r_[1, np.full(49, 1 / 50)]
    first = sm.tuned_gaussian(spiked, batch_size=1, grid=grid).steps
    for b, gain in ((2, 1.80), (16, 5.35), (4096, 6.99)):
        found = first / sm.tuned_gaussian(spiked, batch_size=b, grid=grid).steps
        assert found == pytest.approx(gain, rel=0.005)


def test_stability_limits():
    for delay, limit in STORED["delay_stability_limit"].items():
        assert sm.stability_limit(int(delay)) == pytest.approx(limit, abs=1e-6)
        just = sm.mean_square_rate(limit, delay=int(delay))
        assert just == pytest.approx(1, abs=1e-6)
    for delay, rate in STORED["delay_critically_damped_gamma"].items():
        assert sm.fastest_learning_rate(int(delay)) == pytest.approx(rate, rel=1e-12)
    for delay in (0, 1, 4):
        limit = sm.stability_limit(delay, noise_ratio=6, batch_size=2)
        rate = sm.mean_square_rate(limit, noise_ratio=6, delay=delay, batch_size=2)
        assert rate == pytest.approx(1, abs=1e-9)
    assert sm.stability_limit(0, noise_ratio=9) == pytest.approx(0.2)


def test_slowdown_depends_on_the_ratio_of_delay_to_noise_only():
    for delay, wide in ((1, 10), (3, 30)):
        few = sm.tuned(9, delay=delay).steps / sm.tuned(9).steps
        many = sm.tuned(99, delay=wide).steps / sm.tuned(99).steps
        assert few == pytest.approx(many, rel=0.02)


def brute(values, rate, batch, delays, label, steps):
    """The full second-moment matrix of the last iterates of all coordinates, by Isserlis."""
    d, L = len(values), max(delays) + 1
    moment = np.kron(np.ones((L, L)), np.eye(d))  # E x_j(t-k) x_j(t-l), x_j(0) = +-1 at random
    hessian, found = np.diag(values), [np.ones(d)]
    for tau in delays:
        old = moment[tau * d : (tau + 1) * d, tau * d : (tau + 1) * d]
        grad = 2 * hessian @ old @ hessian + hessian * np.trace(hessian @ old)  # E a a'xx'a a'
        cov = grad - hessian @ old @ hessian + label * hessian
        step = np.zeros((L * d, L * d))
        step[:d, :d] = np.eye(d)
        step[:d, tau * d : (tau + 1) * d] -= rate * hessian
        step[d:, :-d] = np.eye((L - 1) * d)
        moment = step @ moment @ step.T
        moment[:d, :d] += rate**2 * cov / batch
        found.append(np.diag(moment)[:d].copy())
    return np.array(found)


def test_recursions_equal_the_full_covariance():
    values, delays = np.array([1.0, 0.4, 0.1]), [0, 2, 1, 3, 3, 0, 2, 2, 1, 0]
    found = sm.gaussian_moments(values, [0.1, 0.2], 10, delay=delays, batch_size=2, label_noise=0.3)
    expected = brute(values, 0.2, 2, delays, 0.3, 10)
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-8)
    # with equal eigenvalues, M = d + 1
    equal = sm.gaussian_moments(np.ones(5), 0.1, 10, delay=delays, batch_size=3, label_noise=0.2)
    plain = sm.delayed_moments(
        0.1, 10, noise_ratio=6, delay=delays, batch_size=3, variance=1.0, start=5.0
    )
    np.testing.assert_allclose(equal.sum(1), plain, rtol=1e-10)
    # local SGD of one client is SGD; of one step, a mini-batch
    steps = sm.gaussian_moments(values, 0.1, 12, label_noise=0.3)
    local = sm.local_moments(values, 0.1, 4, n=1, local_steps=3, label_noise=0.3)
    np.testing.assert_allclose(local, steps[::3], rtol=1e-12)
    batch = sm.gaussian_moments(values, 0.1, 4, batch_size=6, label_noise=0.3)
    local = sm.local_moments(values, 0.1, 4, n=6, local_steps=1, label_noise=0.3)
    np.testing.assert_allclose(local, batch, rtol=1e-12)


@pytest.mark.parametrize("case", ["batch", "delay", "one-hot"])
def test_monte_carlo_within_three_standard_errors(case):
    """Runs of the library, all learning rates, batches and delays traced, against the recursion."""
    runs, steps, d = 4000, 30, 6
    rates, batches, delays = jnp.array([0.05, 0.1]), jnp.array([1, 3]), jnp.array([0, 4])
    problem = jc.data.gaussian_regression(np.ones(d))
    if case == "one-hot":
        problem = jc.data.one_hot_regression(d)
        rates = rates * d

    def final(rate, batch, delay, key):
        schedule = jc.arrivals.round_robin(steps, delay + 1)
        algorithm = jc.asynchronous(jc.data.regression_loss, optax.sgd(rate), schedule)
        state = algorithm.init(key, jnp.ones((5, d)))
        sample = jc.data.regression_samples(batch, 3)
        state, _ = jc.run(algorithm, state, problem, key, num_rounds=steps, sample=sample)
        return jnp.sum(jc.params_of(state)[0] ** 2)

    pairs = (rates, jnp.ones(2, int), jnp.zeros(2, int))
    if case == "batch":
        pairs = (rates, batches, jnp.zeros(2, int))
    elif case == "delay":
        pairs = (rates, batches, delays)
    else:
        pairs = (rates, batches, delays)
    keys = jax.random.split(KEY, runs)
    sweep = jax.vmap(jax.vmap(final, (None, None, None, 0)), (0, 0, 0, None))
    values = np.asarray(jax.jit(sweep)(*pairs, keys), float)
    for i, (rate, batch, delay) in enumerate(np.asarray(jnp.stack([*map(jnp.asarray, pairs)], 1))):
        curvature = 1 / d if case == "one-hot" else 1.0
        exact = sm.delayed_moments(
            rate * curvature,
            steps,
            noise_ratio=d - 1 if case == "one-hot" else d + 1,
            delay=int(delay),
            batch_size=batch,
            start=float(d),
        )[-1]
        error = values[i].std() / np.sqrt(runs)
        assert abs(values[i].mean() - exact) < 3 * error


def test_copies_of_one_sample_are_one_sample():
    one = jc.data.regression_samples(1)(jc.data.gaussian_regression(np.ones(5)), KEY, 0)
    one = jax.tree.map(lambda leaf: leaf[0], one)
    eight = jc.data.Examples(
        jnp.repeat(one.a, 8, 0), jnp.repeat(one.y, 8), jnp.repeat(one.weight, 8) / 8
    )
    gradient = jax.grad(jc.data.regression_loss)
    x = jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(gradient(x, one, KEY), gradient(x, eight, KEY), rtol=1e-6)


def test_race():
    values = np.geomspace(1, 0.05, 4)
    alone = jc.wall_clock.race(np.ones(1), eigenvalues=values, target=0.1, local_steps=(2,))
    seconds = [alone[name].seconds for name in ("synchronous", "asynchronous", "local 2")]
    np.testing.assert_allclose(seconds, seconds[0], rtol=0.05)
    # one straggler holds up rounds, not arrivals; a slow link favours local steps
    slow = jc.wall_clock.race(np.r_[np.ones(7), 30.0], eigenvalues=values, target=0.1)
    assert next(iter(slow)) == "asynchronous"
    far = jc.wall_clock.race(np.ones(8), 50.0, eigenvalues=values, target=0.1, local_steps=(8,))
    assert next(iter(far)) == "local 8"
    for name in slow:
        assert np.isfinite(slow[name].seconds)
    assert jc.wall_clock.crossing([1.0, 0.1, 0.01], 10**-1.5) == pytest.approx(1.5)
    assert jc.wall_clock.crossing([1.0, 0.5], 0.1) == np.inf


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: sm.delayed_moments(0.1, 3, delay=-1), ValueError, "delay must be at least 0"),
        (lambda: sm.delayed_moments(0.1, 3, delay=1.5), TypeError, "delay must be a whole number"),
        (lambda: sm.delayed_moments(0.1, 3, delay=[1, 1]), ValueError, "delay must hold steps=3"),
        (lambda: sm.delayed_moments(-0.1, 3), ValueError, "learning_rate must be at least 0"),
        (lambda: sm.delayed_moments(0.1, 3, batch_size=0.5), ValueError, "batch_size must be at"),
        (lambda: sm.tuned(-1.0), ValueError, "noise_ratio must be at least 0, got -1"),
        (lambda: sm.tuned(1.0, reduction=1.0), ValueError, "reduction must be above 1"),
        (lambda: sm.tuned_additive(1.0, 1.0, 2.0), ValueError, r"target must be in \(0, 1\)"),
        (lambda: sm.gaussian_moments([1.0, -1.0], 0.1, 3), ValueError, "eigenvalues must be"),
        (lambda: sm.local_moments([1.0], 0.1, 3, n=0, local_steps=1), ValueError, "n must be at"),
        (
            lambda: jc.wall_clock.race([0.0], eigenvalues=[1.0], target=0.1),
            ValueError,
            "compute_time must be positive",
        ),
        (
            lambda: jc.wall_clock.race([1.0], -1.0, eigenvalues=[1.0], target=0.1),
            ValueError,
            "link_time must be at least 0",
        ),
    ],
)
def test_bad_input(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
