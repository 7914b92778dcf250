import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.data import CIFAR10_MEAN, CIFAR10_STD, Dataset, crop_and_flip, cutout, mixup, normalize
from jcollab.data.augment import _draws

# no two pixels are the same, none is 0
IMAGES = np.arange(1, 1 + 6 * 4 * 5 * 2, dtype=np.float32).reshape(6, 4, 5, 2)


def crop(image, dy, dx, mirror, padding):
    out = np.zeros_like(image)
    height, width, _ = image.shape
    for r in range(height):
        for s in range(width):
            row = r + dy - padding
            column = (width - 1 - s if mirror else s) + dx - padding
            if 0 <= row < height and 0 <= column < width:
                out[r, s] = image[row, column]
    return out


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_and_flip_is_a_loop_over_images(padding):
    key = jax.random.key(padding)
    corners, mirrors = map(np.asarray, _draws(key, len(IMAGES), padding))
    expected = [
        crop(image, *corner, mirror, padding)
        for image, corner, mirror in zip(IMAGES, corners, mirrors, strict=True)
    ]
    compiled = jax.jit(crop_and_flip, static_argnames="padding")
    for function in (crop_and_flip, compiled):
        np.testing.assert_array_equal(function(IMAGES, key, padding=padding), expected)


def test_every_place_and_mirror_is_as_likely():
    many = np.repeat(IMAGES[:1], 3600, axis=0)
    out = np.asarray(crop_and_flip(many, jax.random.key(0), padding=1))
    places = [(dy, dx, m) for dy in range(3) for dx in range(3) for m in (False, True)]
    counts = [(out == crop(IMAGES[0], *place, 1)).all((1, 2, 3)).sum() for place in places]
    assert sum(counts) == 3600  # nothing else occurs
    assert max(abs(np.array(counts) - 200)) < 5 * np.sqrt(200)


def test_without_padding_images_are_kept_or_mirrored():
    out = np.asarray(crop_and_flip(np.tile(IMAGES, (10, 1, 1, 1)), jax.random.key(0), padding=0))
    source = np.tile(IMAGES, (10, 1, 1, 1))
    kept = (out == source).all((1, 2, 3))
    mirrored = (out == source[:, :, ::-1]).all((1, 2, 3))
    assert (kept ^ mirrored).all() and kept.any() and mirrored.any()
    # nothing can change an image of one column that is not moved
    np.testing.assert_array_equal(
        crop_and_flip(IMAGES[:, :, :1], jax.random.key(0), padding=0), IMAGES[:, :, :1]
    )


def test_crop_and_flip_depends_on_the_key_alone():
    first, second = (crop_and_flip(IMAGES, jax.random.key(0)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, crop_and_flip(IMAGES, jax.random.key(1)))
    # clients with keys of their own, as in a loss under vmap
    keys = jax.random.split(jax.random.key(2), 3)
    stacked = jax.vmap(crop_and_flip)(np.stack([IMAGES] * 3), keys)
    np.testing.assert_array_equal(stacked, [crop_and_flip(IMAGES, key) for key in keys])


def test_crop_and_flip_keeps_bytes():
    out = crop_and_flip(IMAGES.astype(np.uint8), jax.random.key(0), padding=2)
    assert out.dtype == jnp.uint8
    expected = np.asarray(crop_and_flip(IMAGES, jax.random.key(0), padding=2)).astype(np.uint8)
    np.testing.assert_array_equal(out, expected)


def test_cutout_hides_one_square_of_each_image():
    key = jax.random.key(3)
    out = np.asarray(cutout(IMAGES, key, size=3))
    rows, columns = (
        np.asarray(jax.random.randint(own, (6, 1), 0, side))[:, 0] - 1
        for own, side in zip(jax.random.split(key), (4, 5), strict=True)
    )
    expected = IMAGES.copy()
    for image, r, s in zip(expected, rows, columns, strict=True):
        image[max(r, 0) : max(r + 3, 0), max(s, 0) : max(s + 3, 0)] = 0
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(cutout(IMAGES, key, size=0), IMAGES)
    assert cutout(IMAGES.astype(np.uint8), key, size=2).dtype == jnp.uint8
    with pytest.raises(ValueError, match="size must be at least 0, got -1"):
        cutout(IMAGES, key, size=-1)
    with pytest.raises(ValueError, match="images must be .* got shape .4, 5, 2."):
        cutout(IMAGES[0], key)


def test_mixup_mixes_images_and_labels_alike():
    y = jnp.array([0, 1, 2, 0, 1, 2])
    batch = Dataset(jnp.asarray(IMAGES), y)
    key = jax.random.key(1)
    mixed = mixup(3, 0.5)(batch, None, key)
    first, second = jax.random.split(key)
    weight = float(jax.random.beta(first, 0.5, 0.5))
    order = np.asarray(jax.random.permutation(second, 6))
    np.testing.assert_allclose(mixed.x, weight * IMAGES + (1 - weight) * IMAGES[order], rtol=1e-5)
    eye = np.eye(3)[np.asarray(y)]
    np.testing.assert_allclose(mixed.y, weight * eye + (1 - weight) * eye[order], atol=1e-6)
    with pytest.raises(ValueError, match="alpha must be finite and positive, got 0"):
        mixup(3, 0)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        mixup(0)


def test_normalize():
    images = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype(np.float32)
    out = np.asarray(normalize(images, CIFAR10_MEAN, CIFAR10_STD))
    for c, (mean, std) in enumerate([(0.4914, 0.2023), (0.4822, 0.1994), (0.4465, 0.2010)]):
        np.testing.assert_allclose(out[..., c], (images[..., c] - mean) / std, rtol=1e-4, atol=1e-6)
    compiled = jax.jit(lambda x: normalize(x, CIFAR10_MEAN, CIFAR10_STD))(images)
    np.testing.assert_allclose(compiled, out, rtol=1e-5, atol=1e-6)
    assert normalize(images.astype(jnp.bfloat16), CIFAR10_MEAN, CIFAR10_STD).dtype == jnp.bfloat16


def test_wrong_images_are_named():
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        crop_and_flip(IMAGES, jax.random.key(0), padding=-1)
    with pytest.raises(ValueError, match="images must be .* got shape .4, 5, 2."):
        crop_and_flip(IMAGES[0], jax.random.key(0))
    with pytest.raises(TypeError, match="images must be floating point, got uint8"):
        normalize(IMAGES.astype(np.uint8), (0, 0), (1, 1))
    with pytest.raises(ValueError, match="mean must have one number for each of 2 channels"):
        normalize(IMAGES, CIFAR10_MEAN, (1, 1))
    with pytest.raises(ValueError, match="std must have one number for each of 2 channels"):
        normalize(IMAGES, (0, 0), 1.0)
    with pytest.raises(ValueError, match="std must be positive"):
        normalize(IMAGES, (0, 0), (1, 0))
