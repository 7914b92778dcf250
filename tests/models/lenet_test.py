import jax
import numpy as np
import pytest

import jcollab as jc


def test_lenet5_in_two_parts():
    model = jc.models.LeNet5()
    x = jax.random.normal(jax.random.key(0), (2, 28, 28, 1))
    params = model.init(jax.random.key(0), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 30_986
    features, head = jc.models.two_parts(model)
    inner = features(params, x)
    assert inner.shape == (2, 84) and (abs(inner) < 1).all()
    np.testing.assert_allclose(head(params, inner), model.apply(params, x), atol=1e-6)
    with pytest.raises(TypeError, match="model must have a method features, got MLP"):
        jc.models.two_parts(jc.models.MLP(3))
