"""Augmentation and normalization of images: pure functions that run on the device."""

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

# statistics of the training images in [0, 1], per channel; as in Vogels et al. 2021, arXiv
# 2110.04175
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)


def crop_and_flip(images: Array, key: Array, padding: int = 4) -> Array:
    """Pads each image with zeros, crops it at a random place, and mirrors half of the images.

    ``out[r, s] = padded[r + dy, s + dx]``, or ``padded[r + dy, width - 1 - s + dx]`` for a mirrored
    image, with dy and dx uniform in 0..2 padding, drawn separately for every image.

    To follow the papers, crop first and call :func:`normalize` second, so that the border is black.

    Args:
        images: ``[b, height, width, channels]`` of any dtype.
        key: random key of the batch.
        padding: number of pixels added at each side; with 0, images are only mirrored.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if padding < 0 or images does not have four axes.

    Example:
        >>> images = jnp.arange(8.0).reshape(1, 2, 4, 1)
        >>> jax.jit(jc.data.crop_and_flip)(images, jax.random.key(0)).shape
        (1, 2, 4, 1)

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
    """Sets a square at a random place of each image to zero, clipped at the border.

    Its center (y, x) is uniform over all pixels. The square covers ``size`` rows from
    ``y - size // 2`` on, and ``size`` columns from ``x - size // 2`` on.

    Args:
        images: ``[b, height, width, channels]`` of any dtype, normalized, so that 0 is the mean.
        key: random key of the batch.
        size: side of the square, at least 0; 16 for CIFAR-10 and 8 for CIFAR-100.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: if size < 0 or images does not have four axes.

    Example:
        >>> images = jnp.ones((1, 5, 5, 1))
        >>> out = jc.data.cutout(images, jax.random.key(0), size=1)
        >>> float(out.sum())  # one of 25 pixels is zero
        24.0

    Source: DeVries and Taylor 2017, arXiv 1708.04552.
    """
    checks.count("size", size, 0)
    _check_images(images)
    b, *sides, _ = jnp.shape(images)
    # A mask of rows and columns, since a slice of fixed size cannot be clipped at the border.
    hidden = []
    for side, own in zip(sides, jax.random.split(key), strict=True):
        start = jax.random.randint(own, (b, 1), 0, side, jnp.int32) - size // 2
        place = jnp.arange(side)
        hidden.append((place >= start) & (place < start + size))
    rows, columns = hidden
    square = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(square, jnp.zeros((), images.dtype), images)


def mixup(num_classes: int, alpha: float = 1.0) -> Augment:
    """Builds an augmentation that mixes every example and its label with another of the batch.

        x <- l x + (1 - l) x[order],    y <- l y + (1 - l) y[order],    l ~ Beta(alpha, alpha)

    with one l for the batch, a random permutation ``order``, and labels as one-hot vectors.

    Args:
        num_classes: C.
        alpha: parameter of the Beta distribution, above 0; small values mix little.

    Returns:
        ``augment(batch, model, key) -> batch`` for :func:`jcollab.objectives.classification`, with
        probabilities ``[b, C]`` as labels.

    Raises:
        ValueError: if num_classes < 1 or alpha <= 0.

    Example:
        >>> batch = jc.data.Dataset(jnp.ones((4, 2)), jnp.array([0, 1, 2, 2]))
        >>> augment = jax.jit(jc.data.mixup(num_classes=3))
        >>> mixed = augment(batch, None, jax.random.key(0))
        >>> mixed.x.shape, mixed.y.sum(1).tolist()  # labels are probabilities
        ((4, 2), [1.0, 1.0, 1.0, 1.0])

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
    """Computes ``(images - mean) / std`` per channel.

    Args:
        images: floating ``[..., channels]`` in the units of mean and std; in [0, 1] for
            ``CIFAR10_MEAN`` and ``CIFAR10_STD``.
        mean: ``[channels]``.
        std: ``[channels]``, positive.

    Returns:
        Images of the same shape and dtype.

    Raises:
        TypeError: if images are integers, which must be divided by 255 first.
        ValueError: if mean or std does not have one number per channel, or a std is not positive.

    Example:
        >>> jc.data.normalize(jnp.array([[0.5, 1.0]]), mean=[0.5, 0.5], std=[0.25, 0.25]).tolist()
        [[0.0, 2.0]]
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
    """Draws the corners ``[b, 2]`` of the crops and whether to mirror ``[b]``."""
    corner, mirror = jax.random.split(key)
    corners = jax.random.randint(corner, (b, 2), 0, 2 * padding + 1, jnp.int32)
    return corners, jax.random.bernoulli(mirror, jnp.float32(0.5), (b,))
