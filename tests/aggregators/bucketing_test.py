import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import aggregators as ag
from tests.aggregators.cases import call, case


def test_bucketing_keeps_the_mean_and_shuffles(x64):
    own, messages, _ = case()
    weights = jnp.full(6, 1 / 7)
    mean = call(ag.weighted(), own, messages, weights)
    for size in (1, 2, 3):
        rule = ag.bucketing(size, ag.weighted())
        got = call(rule, own, messages, weights)
        chex.assert_trees_all_close(got, mean, rtol=1e-9)
    lost = weights.at[2].set(0)
    spoilt = jax.tree.map(lambda leaf: leaf.at[2].set(jnp.nan), messages)
    rows = [own["a"], *(messages["a"][k] for k in (0, 1, 3, 4, 5))]
    got = call(ag.bucketing(2, ag.trimmed_mean(0)), own, spoilt, lost)
    np.testing.assert_allclose(got["a"], np.mean(rows, 0), rtol=1e-9)
    # a bucket of two distinct values out of (0, 1, 1, 1): the median sees more than 0 and 1
    seen = {
        float(
            call(
                ag.bucketing(2, ag.coordinate_median()),
                jnp.array([0.0]),
                jnp.array([[1.0], [2.0]]),
                jnp.full(2, 1 / 3),
                key=jax.random.key(i),
            )[0]
        )
        for i in range(20)
    }
    assert len(seen) > 1
    # the state of the rule inside is kept
    inner = ag.centered_clip(1.0)
    chex.assert_trees_all_equal(ag.bucketing(2, inner).init(own), inner.init(own))
    assert ag.bucketing(2, ag.krum(1)).min_inputs == 5
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        ag.bucketing(0, ag.weighted())
