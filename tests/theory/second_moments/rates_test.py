import json

import numpy as np
import pytest

import jcollab as jc
from jcollab.theory import second_moments as sm
from tests import REFERENCE

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
        optimum = sm.tuned_gaussian(log, batch_size=b, grid=grid)
        assert optimum.steps == pytest.approx(steps, rel=1e-3)
    spiked = np.r_[1, np.full(49, 1 / 50)]
    first = sm.tuned_gaussian(spiked, batch_size=1, grid=grid).steps
    for b, gain in ((2, 1.80), (16, 5.35), (4096, 6.99)):
        measured = first / sm.tuned_gaussian(spiked, batch_size=b, grid=grid).steps
        assert measured == pytest.approx(gain, rel=0.005)


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


def test_steps_follow_from_the_rate():
    for reduction in (1.5, 2.0, 1e6):
        best = sm.tuned(1.0, batch_size=2, reduction=reduction)
        assert best.learning_rate == pytest.approx(1 / 1.5)
        assert best.steps == pytest.approx(np.log(reduction) / -np.log(best.rate))


def test_slowdown_depends_on_the_ratio_of_delay_to_noise_only():
    for delay, wide in ((1, 10), (3, 30)):
        few = sm.tuned(9, delay=delay).steps / sm.tuned(9).steps
        many = sm.tuned(99, delay=wide).steps / sm.tuned(99).steps
        assert few == pytest.approx(many, rel=0.02)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: sm.delayed_moments(0.1, 3, delay=-1), ValueError, "delay must be at least 0"),
        (lambda: sm.delayed_moments(0.1, 3, delay=1.5), TypeError, "delay must be an integer"),
        (
            lambda: sm.delayed_moments(0.1, 3, delay=[1, 1]),
            ValueError,
            "delay must be one integer or have shape",
        ),
        (lambda: sm.delayed_moments(-0.1, 3), ValueError, "learning_rate must be at least 0"),
        (lambda: sm.delayed_moments(0.1, 3, batch_size=0.5), ValueError, "batch_size must be at"),
        (lambda: sm.tuned(-1.0), ValueError, "noise_ratio must be at least 0, got -1"),
        (lambda: sm.tuned(1.0, reduction=1.0), ValueError, "reduction must be above 1"),
        (lambda: sm.tuned_additive(1.0, 1.0, 2.0), ValueError, r"target must be in \(0, 1\)"),
        (lambda: sm.gaussian_moments([1.0, -1.0], 0.1, 3), ValueError, "eigenvalues must be"),
        (lambda: sm.local_moments([1.0], 0.1, 3, n=0, local_steps=1), ValueError, "n must be at"),
        (
            lambda: jc.theory.wall_clock.compare([0.0], eigenvalues=[1.0], target=0.1),
            ValueError,
            "compute_time must be positive",
        ),
        (
            lambda: jc.theory.wall_clock.compare([1.0], -1.0, eigenvalues=[1.0], target=0.1),
            ValueError,
            "link_time must be at least 0",
        ),
    ],
)
def test_bad_input(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
