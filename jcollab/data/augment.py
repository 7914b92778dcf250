"""Augmentation and normalization of images on the device: pure functions that can be compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import Model, one_hot
from jcollab.objectives.augmentation import Augment

Array = jax.Array

# of the training images in [0, 1], per channel; as in Vogels et al. 2021, arXiv 2110.04175
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)


def crop_and_flip(images: Array, key: Array, padding: int = 4) -> Array:
    """Each image padded with zeros, cropped back at a random place, and mirrored half of the time.

    ``out[r, s] = padded[r + dy, s + dx]``, or ``padded[r + dy, width - 1 - s + dx]`` where
    mirrored, with dy and dx uniform in 0..2 padding, drawn for every image on its own.

    To follow the papers, crop first and :func:`normalize` second, so that the border is black.

    Args:
        images: ``[b, height, width, channels]`` of any dtype.
        key: random key of the batch.
        padding: pixels at every side; 0 only mirrors.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if padding < 0 or images does not have four axes.

    Source: He, Zhang, Ren and Sun 2015, arXiv 1512.03385, section 4.2.
    """
    checks.count("padding", padding, 0)
    _check_images(images)
    shape = jnp.shape(images)[1:]
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))

    def one(padded: Array, offset: Array, mirror: Array) -> Array:
        image = jax.lax.dynamic_slice(padded, (offset[0], offset[1], 0), shape)
        return jnp.where(mirror, image[:, ::-1], image)

    return jax.vmap(one)(jnp.pad(images, border), *_draws(key, len(images), padding))


def cutout(images: Array, key: Array, size: int = 16) -> Array:
    """A square of zeros at a random place of each image, cut off at the border.

    Its center is uniform over all pixels: rows from ``y - size // 2`` on, ``size`` of them.

    Args:
        images: ``[b, height, width, channels]`` of any dtype, normalized, so that 0 is the mean.
        key: random key of the batch.
        size: side of the square, at least 0; 16 for CIFAR-10 and 8 for CIFAR-100.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if size < 0 or images does not have four axes.

    Source: DeVries and Taylor 2017, arXiv 1708.04552.
    """
    checks.count("size", size, 0)
    _check_images(images)
    b, *sides, _ = jnp.shape(images)
    hidden = []
    for side, own in zip(sides, jax.random.split(key), strict=True):
        start = jax.random.randint(own, (b, 1), 0, side, jnp.int32) - size // 2
        place = jnp.arange(side)
        hidden.append((place >= start) & (place < start + size))
    rows, columns = hidden
    square = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(square, jnp.zeros((), images.dtype), images)


def mixup(num_classes: int, alpha: float = 1.0) -> Augment:
    """An augmentation that mixes every example with another one of the batch, labels too.

        x <- l x + (1 - l) x[order],    y <- l y + (1 - l) y[order],    l ~ Beta(alpha, alpha)

    with one l for the batch and labels as one-hot vectors.

    Args:
        num_classes: C.
        alpha: above 0.

    Returns:
        ``augment(batch, model, key) -> batch`` for :func:`jcollab.objectives.classification`, with
        probabilities ``[b, C]`` as labels.

    Raises:
        ValueError: if num_classes < 1 or alpha <= 0.

    Source: Zhang, Cisse, Dauphin and Lopez-Paz 2018, arXiv 1710.09412.
    """
    checks.count("num_classes", num_classes)
    checks.finite(above=0, alpha=alpha)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        weight_key, order_key = jax.random.split(key)
        weight = jax.random.beta(weight_key, alpha, alpha, dtype=jnp.float32)
        order = jax.random.permutation(order_key, len(batch.x))
        y = one_hot(batch.y, num_classes)
        x, y = (weight * leaf + (1 - weight) * leaf[order] for leaf in (batch.x, y))
        return batch._replace(x=x, y=y)

    return augment


def normalize(images: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """``(images - mean) / std`` per channel.

    Args:
        images: floating ``[..., channels]`` in the units of mean and std, [0, 1] for the constants
            of this file.
        mean: ``[channels]``.
        std: ``[channels]``, positive.

    Raises:
        TypeError: if images are integers, which would have to be divided by 255 first.
        ValueError: if mean or std does not have one number per channel, or a std is not positive.
    """
    images = jnp.asarray(images)
    checks.floats("images", images)
    for name, value in (("mean", mean), ("std", std)):
        if np.shape(value) != images.shape[-1:]:
            raise ValueError(
                f"{name} must have one number for each of {images.shape[-1]} channels, got {value}"
            )
    checks.number("std", std, above=0, arrays=True)
    return (images - jnp.asarray(mean, images.dtype)) / jnp.asarray(std, images.dtype)


def _check_images(images: Array) -> None:
    if jnp.ndim(images) != 4:
        raise ValueError(
            f"images must be [b, height, width, channels], got shape {jnp.shape(images)}"
        )


def _draws(key: Array, b: int, padding: int) -> tuple[Array, Array]:
    """Corners ``[b, 2]`` of the crops and whether to mirror ``[b]``."""
    corner, mirror = jax.random.split(key)
    corners = jax.random.randint(corner, (b, 2), 0, 2 * padding + 1, jnp.int32)
    return corners, jax.random.bernoulli(mirror, jnp.float32(0.5), (b,))
