import jax.numpy as jnp
import numpy as np

import jcollab as jc


def test_every_pass_sees_everything_once():
    parts = [np.arange(10), np.arange(10, 13)]
    order = jc.text.epochs(np.random.default_rng(0), parts, 5, 6)
    assert order.shape == (6, 2, 5) and order.dtype == np.int32
    for k in range(3):
        assert sorted(order[2 * k : 2 * k + 2, 0].ravel()) == list(range(10))
    assert set(order[:, 1].ravel()) == {10, 11, 12}
    data = jc.text.Ordered({"x": jnp.arange(13) * 2}, jnp.asarray(order))
    np.testing.assert_array_equal(jc.text.in_order(data, None, jnp.int32(7))["x"], order[1] * 2)


def test_hard_batches_hold_neighbors():
    rng = np.random.default_rng(0)
    centers = np.repeat(np.eye(4) * 9, 8, 0)
    order = jc.text.neighbor_epoch(rng, centers + 0.01 * rng.normal(size=(32, 4)), 8, 4)
    assert order.shape == (4, 1, 8) and sorted(order.ravel()) == list(range(32))
    groups = order.reshape(8, 4) // 8
    assert np.mean([len(set(group)) for group in groups]) < 2
