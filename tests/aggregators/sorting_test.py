import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import aggregators as ag


@pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 12, 33])
@pytest.mark.parametrize("absent", [0, 1, 2, 3])
def test_median_and_trimmed_mean_equal_numpy(x64, count, absent):
    rng = np.random.default_rng(count)
    own, messages = rng.normal(size=5), rng.normal(size=(count, 5))
    gone = rng.permutation(count)[: min(absent, count - 1)]
    weights = np.where(np.isin(np.arange(count), gone), 0, 0.01)
    rows = np.concatenate([own[None], np.delete(messages, gone, 0)])
    args = (jnp.asarray(own), jnp.asarray(messages), jnp.asarray(weights))
    np.testing.assert_allclose(ag.apply(ag.coordinate_median(), *args), np.median(rows, 0))
    trim = min(3, (len(rows) - 1) // 2)
    ranked = np.sort(rows, 0)[trim : len(rows) - trim]
    got = ag.apply(ag.trimmed_mean(trim), *args)
    np.testing.assert_allclose(got, ranked.mean(0), rtol=1e-12)


def test_wide_models_are_sorted_block_by_block(x64):
    rng = np.random.default_rng(0)
    own, messages = rng.normal(size=(3, 3001)), rng.normal(size=(11, 3, 3001))
    rows = np.concatenate([own[None], messages])
    got = ag.apply(ag.coordinate_median(), jnp.asarray(own), jnp.asarray(messages))
    np.testing.assert_array_equal(got, np.median(rows, 0))
    got = ag.apply(ag.geometric_median(3), jnp.asarray(own), jnp.asarray(messages))
    z = np.zeros_like(own)
    for _ in range(3):
        pull = 1 / np.maximum(np.sqrt(((z - rows) ** 2).sum((1, 2))), 0.1)
        z = np.tensordot(pull / pull.sum(), rows, 1)
    np.testing.assert_allclose(got, z, rtol=1e-9)
