import jax.numpy as jnp
import numpy as np

from jcollab import flows
from jcollab.flows import actnorm


def test_actnorm_of_a_batch_has_mean_0_and_std_1(x64):
    x = np.random.default_rng(0).normal(3, 2, (5, 4, 4, 3))
    bias, log_scale = actnorm.statistics(jnp.asarray(x))
    np.testing.assert_allclose(bias, -x.mean((0, 1, 2)))
    np.testing.assert_allclose(log_scale, -np.log(x.std((0, 1, 2)) + 1e-6))
    y, log_det = flows.ActNorm(bias, log_scale).forward_and_log_det(jnp.asarray(x))
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)
    np.testing.assert_allclose(log_det, np.full(5, 16 * log_scale.sum()))
