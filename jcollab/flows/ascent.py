"""Projected gradient ascent, separately for each sample, in a ball around zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jcollab import checks

Array = jax.Array
Norm = Literal["l2", "linf"]


def project(delta: Array, radius: Any, norm: Norm | None) -> Array:
    """Projects each sample onto a ball around zero.

        l2:    delta / max(1, ||delta|| / radius)
        linf:  clip(delta, -radius, radius)

    Args:
        delta: ``[b, ...]``.
        radius: of the ball, at least 0.
        norm: ``"l2"``, ``"linf"``, or None for no projection.

    Returns:
        ``[b, ...]``.

    Raises:
        ValueError: if the norm is unknown.

    Example:
        >>> print(jc.flows.project(jnp.array([[3.0, 4.0], [0.3, 0.4]]), 1.0, "l2").round(3))
        [[0.6 0.8]
         [0.3 0.4]]
    """
    check_norm(norm, optional=True)
    if norm is None:
        return delta
    if norm == "linf":
        return jnp.clip(delta, -radius, radius)
    length = lengths(delta)
    # the inner where keeps the derivative finite at delta = 0, where the outer one selects 1
    return delta * jnp.where(length > radius, radius / jnp.where(length > 0, length, 1), 1)


def steepest(gradient: Array, norm: Norm) -> Array:
    """Computes the direction of steepest ascent of each sample; 0 where g = 0.

        l2:    g / ||g||
        linf:  sign(g)

    Args:
        gradient: ``[b, ...]``.
        norm: ``"l2"`` or ``"linf"``.
    """
    if norm == "linf":
        return jnp.sign(gradient)
    # the squares of tiny gradients would underflow, so the largest entry is scaled to 1 first
    largest = jnp.abs(gradient).max(tuple(range(1, gradient.ndim)), keepdims=True)
    scaled = gradient / jnp.where(largest > 0, largest, 1)
    length = lengths(scaled)
    return scaled / jnp.where(length > 0, length, 1)


def lengths(delta: Array) -> Array:
    """Computes the L2 norm of each sample.

    Args:
        delta: ``[b, ...]``.

    Returns:
        ``[b, 1, ...]``, which broadcasts against ``delta``.

    Example:
        >>> jc.flows.lengths(jnp.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [[5.0], [1.0]]
    """
    return jnp.linalg.vector_norm(delta, axis=tuple(range(1, delta.ndim)), keepdims=True)


def random_start(
    key: Array, shape: Any, radius: Any, norm: Norm, dtype: Any = jnp.float32
) -> Array:
    """Draws samples uniformly from the cube of side 2 radius and projects them onto the ball."""
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
    """Maximizes a loss by projected gradient ascent, separately for each sample.

        delta <- project( delta + step_size steepest(grad loss(delta)) ),   num_steps times

    Args:
        loss: ``loss(delta) -> []``, a sum or mean over samples, so that they do not interact.
        start: initial delta, ``[b, ...]``; it is projected first.
        radius: of the ball, at least 0.
        step_size: alpha in the paper, at least 0.
        num_steps: S, at least 0.
        norm: ``"l2"`` or ``"linf"``.

    Returns:
        The last delta, ``[b, ...]``.

    Example:
        >>> jc.flows.ascend(  # moves to the corner of the cube that maximizes the sum
        ...     jnp.sum, jnp.zeros((1, 2)), radius=0.5, step_size=0.3, num_steps=2, norm="linf"
        ... ).tolist()
        [[0.5, 0.5]]

    Source: Madry et al. 2018, arXiv 1706.06083; in latent space Yuksel, Stich, Jaggi and Chavdarova
    2021, arXiv 2108.07958.
    """

    def step(_: int, delta: Array) -> Array:
        # steepest() normalizes each sample, so the scale of the loss does not change the step
        moved = delta + step_size * steepest(jax.grad(loss)(delta), norm)
        return project(moved, radius, norm)

    return jax.lax.fori_loop(0, num_steps, step, project(start, radius, norm))


def check_norm(norm: Any, optional: bool = False) -> None:
    """Raises ValueError if the norm is unknown."""
    known = (*get_args(Norm), None) if optional else get_args(Norm)
    checks.one_of("norm", norm, known)
