"""Differential privacy of released class means."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

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


def test_epsilon_is_that_of_one_gaussian():
    """T uses with noise z are one with noise z / sqrt(T), whose profile is known."""
    z, rounds, delta = 20.0, 50, 1e-5
    mu = np.sqrt(2 * rounds) / z

    def profile(eps):
        cdf = scipy.stats.norm.cdf
        return cdf(mu / 2 - eps / mu) - np.exp(eps) * cdf(-mu / 2 - eps / mu) - delta

    expected = scipy.optimize.brentq(profile, 0, 50)
    measured = jc.privacy.epsilon(z, rounds, delta)
    assert expected <= measured <= expected + 0.01


def test_epsilon_without_the_accountant_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ImportError, match="jax-collab\\[privacy\\]"):
        jc.privacy.epsilon(1.0, 1, 1e-5)
    with pytest.raises(ValueError, match="delta must be in \\(0, 1\\), got 1"):
        jc.privacy.epsilon(1.0, 1, 1)
    with pytest.raises(ValueError, match="noise_multiplier must be finite and positive, got inf"):
        jc.privacy.epsilon(float("inf"), 1, 0.1)
