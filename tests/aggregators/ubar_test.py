import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import aggregators as ag
from tests.aggregators.cases import call, loss


def test_ubar_follows_its_definition(x64):
    own, target = jnp.array([1.0, 0.0]), jnp.array([0.0, 0.0])
    messages = jnp.array([[0.9, 0.0], [1.2, 0.0], [0.5, 0.0], [9.0, 0.0]])
    rule = ag.ubar(loss, 0.75, own_weight=0.25, learning_rate=0.1)
    got = call(rule, own, messages, jnp.full(4, 0.2), batch=target)
    # near: 0.9, 1.2, 0.5; no worse than own: 0.9, 0.5; gradient of the own loss: 2
    np.testing.assert_allclose(got, [0.25 + 0.75 * 0.7 - 0.2, 0.0])
    worse = call(ag.ubar(loss, 1.0), own, messages + 5.0, jnp.full(4, 0.2), batch=target)
    np.testing.assert_allclose(worse, [(1.0 + 5.5) / 2, 2.5])  # the nearest, as none is good
    with pytest.raises(ValueError, match="batch must be the receiver's.*got None"):
        call(rule, own, messages, jnp.full(4, 0.2), batch=None)
