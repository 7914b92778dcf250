import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import data as jd


def test_client_arrays_are_padded_and_masked():
    data = jd.client_data({"x": np.arange(6.0)}, [np.array([5]), np.array([0, 2, 4])])
    arrays, mask = jd.client_arrays(data)
    assert arrays["x"].tolist() == [[5, 5, 5], [0, 2, 4]]
    assert mask.tolist() == [[True, False, False], [True, True, True]]


def test_minibatches_draw_evenly_from_the_clients_own_examples():
    data = jd.client_data(jnp.arange(6), [np.array([5]), np.array([0, 2, 4])])
    sample = jd.minibatches(4)
    draws = jax.vmap(lambda key: sample(data, key, 0))(jax.random.split(jax.random.key(0), 300))
    assert set(np.unique(draws[:, 0])) == {5}
    values, counts = np.unique(draws[:, 1], return_counts=True)
    assert values.tolist() == [0, 2, 4]
    assert (abs(counts - 400) < 5 * np.sqrt(1200 * 2 / 9)).all()


def test_batches_have_the_size_asked_for():
    data = jd.client_data(jnp.arange(6), [np.array([5]), np.array([0, 2, 4])])
    for size in (1, 3):
        batch = jd.minibatches(size)(data, jax.random.key(0), 0)
        assert batch.shape == (2, size) and (batch[0] == 5).all()
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        jd.minibatches(0)
