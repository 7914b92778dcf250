import jax
import jax.numpy as jnp
import numpy as np

from jcollab import flows
from jcollab.flows import preprocess
from tests.flows.small import KEY, make


def test_the_corrected_decoder_is_within_half_a_gray_level():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 17, (2, 4, 4, 1)) / 16)
    y, _ = preprocess.to_logits(x, preprocess_noise(x), "corrected", 17)
    np.testing.assert_allclose(preprocess.from_logits(y, 0.5, "corrected", 17), x, atol=0.5 / 16)
    released = preprocess.from_logits(y, 0.5, "released", 17)
    assert released.min() >= 0.05 and released.max() <= 0.95


def preprocess_noise(x):
    return jax.random.uniform(KEY, x.shape, x.dtype)


def test_the_distribution_of_logits():
    flow, params, x, _ = make("full")
    y = jax.random.normal(KEY, x.shape)
    law = flows.distribution(flow, params, x.shape[1:])
    z, log_det = flow.bijector(params).forward_and_log_det(y)
    expected = -0.5 * (z**2 + np.log(2 * np.pi)).sum((1, 2, 3)) + log_det
    np.testing.assert_allclose(law.log_prob(y), expected, rtol=1e-5)
    drawn, log_density = law.sample_and_log_prob(seed=KEY, sample_shape=(2,))
    np.testing.assert_allclose(law.log_prob(drawn), log_density, rtol=1e-4)
