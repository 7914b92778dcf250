import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import flows
from jcollab.flows import invertible_convolution


def test_lu_factors_are_the_matrix():
    for seed in range(3):
        weight = np.random.default_rng(seed).normal(size=(5, 5))
        trained, order, sign = invertible_convolution.factors(weight)
        bijector = flows.LUConvolution(
            **jax.tree.map(jnp.asarray, trained), permutation=jnp.asarray(order), sign=sign
        )
        np.testing.assert_allclose(bijector.weight(), weight, atol=1e-5)
        x = np.random.default_rng(seed).normal(size=(2, 3, 3, 5)).astype(np.float32)
        full = flows.InvertibleConvolution(jnp.asarray(weight, jnp.float32))
        for ours, theirs in zip(
            bijector.forward_and_log_det(x) + bijector.inverse_and_log_det(x),
            full.forward_and_log_det(x) + full.inverse_and_log_det(x),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"weight must be a square matrix, got shape \[2, 3\]"):
        invertible_convolution.factors(np.ones((2, 3)))
