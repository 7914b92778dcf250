"""Squeezing of images, repetition over depth, and the multi-scale split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp

PyTree = Any
Array = jax.Array


def squeeze(x: Array) -> Array:
    """Moves each 2 x 2 square of places into the channels.

    Args:
        x: ``[..., h, w, c]``, with even height and width.

    Returns:
        ``[..., h/2, w/2, 4c]``; channel ``4 c + 2 dy + dx`` is channel c at offset (dy, dx).

    Raises:
        ValueError: if height or width is odd.

    Example:
        >>> jc.flows.squeeze(jnp.arange(4).reshape(1, 2, 2, 1)).tolist()
        [[[[0, 1, 2, 3]]]]
    """
    *batch, h, w, c = x.shape
    if h % 2 or w % 2:
        raise ValueError(f"height and width must be even, got {h} x {w}")
    x = x.reshape(*batch, h // 2, 2, w // 2, 2, c)
    x = jnp.moveaxis(x, (-4, -2), (-2, -1))  # [..., h/2, w/2, c, dy, dx]
    return x.reshape(*batch, h // 2, w // 2, 4 * c)


def unsqueeze(x: Array) -> Array:
    """Inverts :func:`squeeze`.

    Args:
        x: ``[..., h, w, 4c]``.

    Returns:
        ``[..., 2h, 2w, c]``.

    Example:
        >>> jc.flows.unsqueeze(jnp.arange(4).reshape(1, 1, 4))[..., 0].tolist()
        [[0, 1], [2, 3]]
    """
    *batch, h, w, c = x.shape
    x = jnp.moveaxis(x.reshape(*batch, h, w, c // 4, 2, 2), (-2, -1), (-4, -2))
    return x.reshape(*batch, 2 * h, 2 * w, c // 4)


class Repeated(distrax.Bijector):
    """A chain of K bijectors of the same form, applied in one loop.

    The compile time does not depend on K.

    Args:
        build: ``build(params of one) -> bijector``.
        params: stacked, ``[K, ...]``; the first row is applied first.
        event_ndims: of the bijectors.
        remat: whether the backward pass recomputes the values inside a step instead of storing
            them.

    Example:
        >>> double = jnp.full((3, 1), 2.0)  # parameters of three bijectors
        >>> chain = jc.flows.Repeated(lambda own: distrax.ScalarAffine(0.0, own), double, 0)
        >>> chain.forward(jnp.ones(1)).tolist()
        [8.0]
    """

    def __init__(
        self,
        build: Callable[[PyTree], distrax.Bijector],
        params: PyTree,
        event_ndims: int = 3,
        remat: bool = False,
    ):
        super().__init__(event_ndims_in=event_ndims)
        self._build, self._params, self._remat = build, params, remat

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Applies all bijectors, the first one first."""
        return self._loop(lambda b, x: b.forward_and_log_det(x), x, reverse=False)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Applies all inverses, the last one first."""
        return self._loop(lambda b, y: b.inverse_and_log_det(y), y, reverse=True)

    def _loop(self, apply: Callable, x: Array, reverse: bool) -> tuple[Array, Array]:
        # bijectors are built inside the loop, from the slice of the parameters
        def one(carry: tuple[Array, Array], params: PyTree) -> tuple[tuple[Array, Array], None]:
            x, total = carry
            x, log_det = apply(self._build(params), x)
            return (x, total + log_det), None

        # log-determinants have the shape of a batch of events, with its axes in front
        start = (x, jnp.zeros(x.shape[: x.ndim - self.event_ndims_in], x.dtype))
        body = jax.checkpoint(one) if self._remat else one
        return jax.lax.scan(body, start, self._params, reverse=reverse)[0]


class MultiScale(distrax.Bijector):
    """One scale of a multi-scale flow, and the scales after it.

        u = steps(x);   (a, b) = halves of squeeze(u);   y = unsqueeze(following(a), b)

    Only half of the squeezed channels goes on to the next scale. The latents of all scales form
    one array of the shape of x.

    Args:
        steps: the bijector of this scale.
        following: the bijector of the next scale.

    Example:
        >>> double = distrax.Block(distrax.ScalarAffine(0.0, 2.0), 3)
        >>> flow = jc.flows.MultiScale(double, double)
        >>> flow.forward(jnp.ones((2, 2, 1)))[..., 0].tolist()  # two of four values go on
        [[4.0, 4.0], [2.0, 2.0]]
    """

    def __init__(self, steps: distrax.Bijector, following: distrax.Bijector):
        super().__init__(event_ndims_in=3)
        self._steps, self._following = steps, following

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        x, here = self._steps.forward_and_log_det(x)
        x, below = self._split(x, self._following.forward_and_log_det)
        return x, here + below

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        y, below = self._split(y, self._following.inverse_and_log_det)
        y, here = self._steps.inverse_and_log_det(y)
        return y, here + below

    def _split(self, x: Array, apply: Callable) -> tuple[Array, Array]:
        # following() keeps the shape of its input, so unsqueeze() restores the shape of x
        first, second = jnp.split(squeeze(x), 2, axis=-1)
        first, log_det = apply(first)
        return unsqueeze(jnp.concatenate([first, second], -1)), log_det


class Squeezed(distrax.Bijector):
    """A bijector applied to squeezed images: ``unsqueeze(inner(squeeze(x)))``.

    Args:
        inner: a bijector of ``[h/2, w/2, 4c]``.

    Example:
        >>> norm = jc.flows.ActNorm(jnp.arange(4.0), jnp.zeros(4))
        >>> jc.flows.Squeezed(norm).forward(jnp.zeros((2, 2, 1)))[..., 0].tolist()
        [[0.0, 1.0], [2.0, 3.0]]
    """

    def __init__(self, inner: distrax.Bijector):
        super().__init__(event_ndims_in=3)
        self._inner = inner

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        y, log_det = self._inner.forward_and_log_det(squeeze(x))
        return unsqueeze(y), log_det

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        x, log_det = self._inner.inverse_and_log_det(squeeze(y))
        return unsqueeze(x), log_det
