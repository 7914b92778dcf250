"""Differential privacy of released class means."""

import dp_accounting
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dp_accounting import pld

import jcollab as jc

KEY = jax.random.key(0)


def test_noise_is_that_of_the_mechanism():
    release = jc.privacy.gaussian_mechanism(2.0, 0.5)
    long = release.bound(jnp.array([[3.0, 4.0], [0.1, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(long, [[0.3, 0.4], [0.1, 0.0], [0.0, 0.0]], atol=1e-6)
    means, counts = jnp.ones((3, 20_000)), jnp.array([4.0, 1.0, 0.0])
    noisy = release.noise(KEY, means, counts)
    np.testing.assert_allclose(noisy.std(1), [2 * 0.5 * 2 / 4, 2.0, 0.0], rtol=0.03)
    assert (noisy[2] == 0).all()  # an absent class stays absent
    with pytest.raises(ValueError, match="noise_multiplier must be finite and positive, got 0"):
        jc.privacy.gaussian_mechanism(0, 1.0)


@pytest.mark.parametrize(
    ("z", "rounds", "delta"), [(20.0, 50, 1e-5), (1.0, 1, 1e-5), (2.0, 8, 1e-9), (200.0, 2, 0.1)]
)
def test_epsilon_is_that_of_the_accountant(z, rounds, delta):
    """Privacy loss distributions on a grid, which bound it from above."""
    accountant = pld.PLDAccountant()
    accountant.compose(dp_accounting.GaussianDpEvent(z), 2 * rounds)
    expected, measured = accountant.get_epsilon(delta), jc.privacy.epsilon(z, rounds, delta)
    assert measured <= expected + 1e-6 and measured == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_epsilon_out_of_range():
    with pytest.raises(ValueError, match="delta must be in \\(0, 1\\), got 1"):
        jc.privacy.epsilon(1.0, 1, 1)
    with pytest.raises(ValueError, match="noise_multiplier must be finite and positive, got inf"):
        jc.privacy.epsilon(float("inf"), 1, 0.1)
