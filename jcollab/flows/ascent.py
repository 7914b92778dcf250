"""Projected gradient ascent in a ball of each sample's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jcollab import checks

Array = jax.Array
Norm = Literal["l2", "linf"]


def project(delta: Array, radius: Any, norm: Norm | None) -> Array:
    """Each sample's nearest point in the ball: ``delta / max(1, ||delta|| / radius)``, or clipped.

    Args:
        delta: ``[b, ...]``.
        radius: at least 0.
        norm: ``"l2"``, ``"linf"`` (every coordinate clipped), or None for no ball.

    Raises:
        ValueError: for another norm.

    Example:
        >>> print(project(jnp.array([[3.0, 4.0], [0.3, 0.4]]), 1.0, "l2").round(3))
        [[0.6 0.8]
         [0.3 0.4]]
    """
    check_norm(norm, optional=True)
    if norm is None:
        return delta
    if norm == "linf":
        return jnp.clip(delta, -radius, radius)
    length = lengths(delta)
    return delta * jnp.where(length > radius, radius / jnp.where(length > 0, length, 1), 1)


def steepest(gradient: Array, norm: Norm) -> Array:
    """Direction of steepest ascent: ``g / ||g||`` of each sample, or ``sign(g)``; 0 where g = 0.

    Args:
        gradient: ``[b, ...]``.
        norm: ``"l2"`` or ``"linf"``.
    """
    if norm == "linf":
        return jnp.sign(gradient)
    # tiny gradients are scaled first, so that their squares do not vanish
    largest = jnp.abs(gradient).max(tuple(range(1, gradient.ndim)), keepdims=True)
    scaled = gradient / jnp.where(largest > 0, largest, 1)
    length = lengths(scaled)
    return scaled / jnp.where(length > 0, length, 1)


def lengths(delta: Array) -> Array:
    """L2 norms of samples, ``[b, 1, ...]``."""
    return jnp.linalg.vector_norm(delta, axis=tuple(range(1, delta.ndim)), keepdims=True)


def random_start(
    key: Array, shape: Any, radius: Any, norm: Norm, dtype: Any = jnp.float32
) -> Array:
    """Uniform in the cube of side 2 radius, then projected onto the ball."""
    start = jax.random.uniform(key, shape, dtype, -1, 1) * radius
    return project(start, radius, norm)


def ascend(
    loss: Callable[[Array], Array],
    start: Array,
    *,
    radius: Any,
    step_size: Any,
    num_steps: int,
    norm: Norm,
) -> Array:
    """Projected gradient ascent of every sample on its own.

        delta <- project( delta + step_size steepest(grad loss(delta)) ),   num_steps times

    Args:
        loss: ``loss(delta) -> []``, a sum or mean over samples, so that they do not interact.
        start: delta at the start, ``[b, ...]``; is projected too.
        radius: of the ball, at least 0.
        step_size: alpha in the paper, at least 0.
        num_steps: S, at least 0.
        norm: ``"l2"`` or ``"linf"``.

    Returns:
        The last delta, ``[b, ...]``.

    Source: Madry et al. 2018, arXiv 1706.06083; in latent space Yuksel, Stich, Jaggi and Chavdarova
    2021, arXiv 2108.07958.
    """

    def step(_: int, delta: Array) -> Array:
        moved = delta + step_size * steepest(jax.grad(loss)(delta), norm)
        return project(moved, radius, norm)

    return jax.lax.fori_loop(0, num_steps, step, project(start, radius, norm))


def check_norm(norm: Any, optional: bool = False) -> None:
    """ValueError for an unknown norm."""
    known = (*get_args(Norm), None) if optional else get_args(Norm)
    checks.one_of("norm", norm, known)
