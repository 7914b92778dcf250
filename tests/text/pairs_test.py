import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc


def test_every_pass_sees_everything_once():
    parts = [np.arange(10), np.arange(10, 13)]
    order = jc.text.epochs(np.random.default_rng(0), parts, 5, 6)
    assert order.shape == (6, 2, 5) and order.dtype == np.int32
    for k in range(3):
        assert sorted(order[2 * k : 2 * k + 2, 0].ravel()) == list(range(10))
    assert set(order[:, 1].ravel()) == {10, 11, 12}
    batches = jc.text.in_order({"x": jnp.arange(13) * 2}, order)
    drawn = batches.draw(jax.random.key(0), jnp.int32(7))
    np.testing.assert_array_equal(drawn["x"], order[1] * 2)


def test_orders_that_do_not_fit_are_named():
    with pytest.raises(TypeError, match="order must be integer, got float64"):
        jc.text.in_order(np.arange(3), np.zeros((1, 1, 1)))
    with pytest.raises(ValueError, match=r"order must have shape \[T, n, b\], got \[2\]"):
        jc.text.in_order(np.arange(3), np.arange(2))
    with pytest.raises(ValueError, match=r"order must be in \[0, 2\], got .*3"):
        jc.text.in_order(np.arange(3), np.full((1, 1, 1), 3))


def test_hard_batches_hold_neighbors():
    rng = np.random.default_rng(0)
    centers = np.repeat(np.eye(4) * 9, 8, 0)
    order = jc.text.neighbor_epoch(rng, centers + 0.01 * rng.normal(size=(32, 4)), 8, 4)
    assert order.shape == (4, 1, 8) and sorted(order.ravel()) == list(range(32))
    groups = order.reshape(8, 4) // 8
    assert np.mean([len(set(group)) for group in groups]) < 2
