import numpy as np
import pytest

import jcollab as jc


def test_compare():
    values = np.geomspace(1, 0.05, 4)
    alone = jc.theory.wall_clock.compare(
        np.ones(1), eigenvalues=values, target=0.1, local_steps=(2,)
    )
    seconds = [alone[name].seconds for name in ("synchronous", "asynchronous", "local 2")]
    np.testing.assert_allclose(seconds, seconds[0], rtol=0.05)
    # one straggler holds up rounds, not arrivals; a slow link favors local steps
    slow = jc.theory.wall_clock.compare(np.r_[np.ones(7), 30.0], eigenvalues=values, target=0.1)
    assert next(iter(slow)) == "asynchronous"
    drawn = jc.theory.wall_clock.compare(
        np.ones(8), eigenvalues=values, target=0.1, draw=jc.theory.arrivals.exponential()
    )
    steady = jc.theory.wall_clock.compare(np.ones(8), eigenvalues=values, target=0.1)
    # the slowest of eight exponential times is H_8 = 2.7 means, and rounds wait for it
    ratio = drawn["synchronous"].seconds / steady["synchronous"].seconds
    assert 2.2 < ratio < 3.3
    far = jc.theory.wall_clock.compare(
        np.ones(8), 50.0, eigenvalues=values, target=0.1, local_steps=(8,)
    )
    assert next(iter(far)) == "local 8"
    for name in slow:
        assert np.isfinite(slow[name].seconds)
    assert jc.theory.wall_clock.crossing([1.0, 0.1, 0.01], 10**-1.5) == pytest.approx(1.5)
    assert jc.theory.wall_clock.crossing([1.0, 0.5], 0.1) == np.inf
