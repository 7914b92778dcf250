"""Features that differ by client: every client sees the images in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.data.clients import ClientData, ClientRanges, check_clients

PyTree = Any
Array = jax.Array


def rotate(images: Array, degrees: Any) -> Array:
    """Rotates images around their center, counterclockwise, by bilinear interpolation.

    Pixels from outside of the image are zero.

    Args:
        images: ``[..., height, width, channels]``, floating-point numbers.
        degrees: the angle, a number; to rotate each client's images by another one, see
            :func:`jcollab.data.shift_features`.

    Raises:
        TypeError: if images are not floating-point numbers.
        ValueError: if images have fewer than three axes, or degrees is not a number.

    Example:
        >>> image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[..., None]
        >>> jc.data.rotate(image, 90.0)[..., 0].round().tolist()
        [[2.0, 4.0], [1.0, 3.0]]
    """
    images = _images(images)
    checks.number("degrees", degrees)
    height, width = images.shape[-3:-1]
    angle = jnp.deg2rad(degrees)
    y, x = jnp.mgrid[:height, :width] - jnp.array([height - 1, width - 1])[:, None, None] / 2
    # the place in the given image of each pixel of the result; rows of an image point down
    source = [jnp.cos(angle) * y + jnp.sin(angle) * x, jnp.cos(angle) * x - jnp.sin(angle) * y]
    source = [place + (size - 1) / 2 for place, size in zip(source, (height, width), strict=True)]
    planes = jnp.moveaxis(images, -1, -3).reshape(-1, height, width)
    turned = jax.vmap(lambda plane: jax.scipy.ndimage.map_coordinates(plane, source, order=1))
    shape = (*images.shape[:-3], images.shape[-1], height, width)
    return jnp.moveaxis(turned(planes).reshape(shape), -3, -1)


def brighten(images: Array, factor: Any) -> Array:
    """Multiplies images by a factor and clips them, ``min(factor x, 1)``.

    Args:
        images: ``[..., height, width, channels]``, floating-point numbers in 0..1.
        factor: the brightness, at least 0; below 1 images get darker.

    Raises:
        TypeError: if images are not floating-point numbers.
        ValueError: if images have fewer than three axes, or factor is negative.

    Example:
        >>> jc.data.brighten(jnp.array([[[0.25, 0.75]]]), 2.0).tolist()
        [[[0.5, 1.0]]]
    """
    checks.number("factor", factor, at_least=0)
    return jnp.clip(factor * _images(images), 0, 1)


def shift_features(
    data: ClientData | ClientRanges, transform: Callable[[PyTree, Any], PyTree], values: Any
) -> ClientData | ClientRanges:
    """Transforms the examples of each client by its own value, for example its angle.

    Args:
        data: data of clients that share no examples, for example from
            :func:`jcollab.data.by_client` and a partition.
        transform: ``transform(example, value) -> example``, for ONE example, without the axis N.
        values: ``[n, ...]``, the value of each client.

    Returns:
        Data with the same partition and new examples.

    Raises:
        TypeError: if ``data`` is not the data of clients, or ``transform`` is not a function.
        ValueError: if there are not n values, or two clients share an example.

    Example:
        >>> images = jc.data.Dataset(jnp.ones((4, 2, 2, 1)) / 2, jnp.arange(4))
        >>> data = jc.data.by_client(images, [[0, 2], [1, 3]])
        >>> darker = lambda example, by: example._replace(x=jc.data.brighten(example.x, by))
        >>> shifted = jc.data.shift_features(data, darker, np.array([1.0, 0.5]))
        >>> shifted.examples.x[:, 0, 0, 0].tolist()
        [0.5, 0.25, 0.5, 0.25]

    Source: Ghosh et al. 2020, arXiv 2006.04088, section 6.2 (rotated MNIST).
    """
    check_clients(data)
    checks.functions(transform=transform)
    owners = _owners(data)
    n = len(data.start if isinstance(data, ClientRanges) else data.indices)
    values = jnp.asarray(values)
    if values.shape[:1] != (n,):
        raise ValueError(f"values must have shape [n={n}, ...], got {list(values.shape)}")
    examples = jax.tree.map(jnp.asarray, data.examples)
    return dataclasses.replace(data, examples=jax.vmap(transform)(examples, values[owners]))


def _owners(data: ClientData | ClientRanges) -> np.ndarray:
    """Returns the client of each example, ``[N]``; client 0 for examples of no client."""
    owners = np.zeros(len(jax.tree.leaves(data.examples)[0]), np.int32)
    if isinstance(data, ClientRanges):
        for i, (start, size) in enumerate(zip(data.start, data.size, strict=True)):
            owners[start : start + size] = i
        return owners
    mask, indices = np.asarray(data.mask), np.asarray(data.indices)
    client = np.broadcast_to(np.arange(len(mask))[:, None], mask.shape)
    owners[indices[mask]] = client[mask]
    if (shared := owners[indices[mask]] != client[mask]).any():
        example = indices[mask][shared][0]
        raise ValueError(
            f"data must be of clients that share no examples, got example {example} of clients "
            f"{client[mask][shared][0]} and {owners[example]}"
        )
    return owners


def _images(images: Any) -> Array:
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images must be floating-point numbers, got {images.dtype}")
    if images.ndim < 3:
        raise ValueError(
            f"images must have shape [..., height, width, channels], got {list(images.shape)}"
        )
    return images
