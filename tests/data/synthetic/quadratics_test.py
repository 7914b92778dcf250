import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab.data.synthetic import quadratics

KEY = jax.random.key(0)


@pytest.mark.parametrize("zeta2, smallest", [(0.0, 0.5), (0.1, 0.5), (10.0, None)])
def test_random_quadratics_have_what_was_asked_for(zeta2, smallest):
    problem = jc.data.synthetic.random_quadratics(
        6, 5, zeta2=zeta2, smallest=smallest, r0=3.0, seed=2
    )
    assert quadratics.heterogeneity(problem) == pytest.approx(zeta2, abs=1.1e-5)
    assert np.linalg.norm(quadratics.optimum(problem)) == pytest.approx(3.0)
    values = np.linalg.svd(problem.A, compute_uv=False)
    np.testing.assert_allclose(values[:, 0], 1.0)
    if smallest:
        np.testing.assert_allclose(values, np.linspace(1, 0.5, 5)[None].repeat(6, 0))
    with pytest.raises(ValueError, match=r"smallest must be in \(0, 1\], got 2.0"):
        jc.data.synthetic.random_quadratics(6, 5, smallest=2.0)
    with pytest.raises(ValueError, match="zeta2 must be finite and at least 0, got -1.0"):
        jc.data.synthetic.random_quadratics(6, 5, zeta2=-1.0)


def test_noise_of_the_quadratic_gradients():
    keys = jax.random.split(KEY, 4000)
    batch = jc.data.synthetic.Quadratics(jnp.eye(4), jnp.ones(4))
    loss = jc.data.synthetic.quadratic_loss(noise=0.6)
    grads = jax.vmap(jax.grad(loss), (None, None, 0))(jnp.zeros(4), batch, keys)
    np.testing.assert_allclose(grads.mean(0), -1, atol=0.03)
    np.testing.assert_allclose(((grads + 1) ** 2).sum(1).mean(), 0.36, rtol=0.05)
