import numpy as np
import pytest

import jcollab as jc


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
