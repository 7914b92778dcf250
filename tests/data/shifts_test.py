"""Images that each client sees in its own way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import jcollab as jc

IMAGES = np.random.default_rng(0).uniform(size=(2, 3, 7, 6, 2)).astype(np.float32)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, -75.0, 200.0])
def test_rotation_is_that_of_scipy(degrees):
    expected = ndimage.rotate(
        IMAGES, degrees, axes=(3, 2), reshape=False, order=1, mode="grid-constant"
    )
    got = jax.jit(jc.data.rotate)(IMAGES, degrees)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_right_angles_are_those_of_numpy():
    square = IMAGES[..., :6, :, :]
    for turns in range(4):
        expected = np.rot90(square, turns, axes=(2, 3))
        np.testing.assert_allclose(jc.data.rotate(square, 90.0 * turns), expected, atol=1e-5)


def turn(example, degrees):
    return example._replace(x=jc.data.rotate(example.x, degrees))


def test_every_client_has_its_own_angle():
    images = jc.data.Dataset(IMAGES.reshape(6, 7, 6, 2), np.arange(6))
    angles, parts = np.array([0.0, 45.0, 90.0]), [[5], [0, 2, 4], [1, 3]]
    lists = jc.data.by_client(images, parts, names=["a", "b", "c"])
    shifted = jc.data.shift_features(lists, turn, angles)
    for part, angle in zip(parts, angles, strict=True):
        expected = jc.data.rotate(images.x[np.array(part)], angle)
        np.testing.assert_allclose(shifted.examples.x[np.array(part)], expected, atol=1e-6)
    assert shifted.names == lists.names and shifted.examples.y.tolist() == list(range(6))
    ranges = jc.data.by_owner(images, sizes=[1, 3, 2])
    of_ranges = jc.data.shift_features(ranges, turn, angles).examples.x
    np.testing.assert_allclose(of_ranges[1:4], jc.data.rotate(images.x[1:4], 45.0), atol=1e-6)
    batch = jc.data.minibatches(shifted, 2).draw(jax.random.key(0), 0)
    assert batch.x.shape == (3, 2, 7, 6, 2)


def test_brightness_stays_between_black_and_white():
    got = jc.data.brighten(IMAGES, 1.5)
    np.testing.assert_allclose(got, np.minimum(1.5 * IMAGES, 1), rtol=1e-6)
    each = jax.vmap(jc.data.brighten)(IMAGES, jnp.array([0.0, 1.0]))
    assert not each[0].any() and (each[1] == IMAGES[1]).all()


def test_wrong_data_and_values_are_named():
    data = jc.data.by_client(jnp.arange(4.0), [[0, 1], [1, 2]])
    add = lambda x, value: x + value  # noqa: E731
    with pytest.raises(ValueError, match="share no examples, got example 1 of clients 0 and 1"):
        jc.data.shift_features(data, add, np.zeros(2))
    good = jc.data.by_client(jnp.arange(4.0), [[0, 1], [2, 3]])
    with pytest.raises(ValueError, match=r"values must have shape \[n=2, ...\], got \[3\]"):
        jc.data.shift_features(good, add, np.zeros(3))
    with pytest.raises(TypeError, match="transform must be a function, got str"):
        jc.data.shift_features(good, "rotate", np.zeros(2))
    with pytest.raises(TypeError, match="data must be made by by_client"):
        jc.data.shift_features(jnp.arange(4.0), add, np.zeros(2))
    for function in (jc.data.rotate, jc.data.brighten):
        with pytest.raises(TypeError, match="images must be floating-point numbers, got uint8"):
            function(np.zeros((2, 2, 1), np.uint8), 1.0)
        with pytest.raises(ValueError, match="images must have shape .*, got .2, 2."):
            function(np.zeros((2, 2), np.float32), 1.0)
