"""ActNorm: a shift and a scale per channel that a first batch sets."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp

Array = jax.Array
EPSILON = 1e-6


class ActNorm(distrax.Bijector):
    """``y = (x + bias) exp(log_scale)`` per channel, ``log_det = height width sum(log_scale)``.

    Args:
        bias: ``[channels]``.
        log_scale: ``[channels]``.

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039.
    """

    def __init__(self, bias: Array, log_scale: Array):
        super().__init__(event_ndims_in=3, is_constant_jacobian=True)
        self._bias, self._log_scale = bias, log_scale

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """``[..., height, width, channels]`` and ``[...]``."""
        return (x + self._bias) * jnp.exp(self._log_scale), self._log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """``[..., height, width, channels]`` and ``[...]``."""
        return y * jnp.exp(-self._log_scale) - self._bias, -self._log_det(y)

    def _log_det(self, x: Array) -> Array:
        places = x.shape[-3] * x.shape[-2]
        return jnp.broadcast_to(places * self._log_scale.sum(), x.shape[:-3])


def statistics(x: Array) -> tuple[Array, Array]:
    """The bias and log-scale at which a batch gets mean 0 and standard deviation 1 per channel.

        bias = -mean(x),   log_scale = -log(std(x) + 1e-6)

    Args:
        x: ``[..., channels]``; statistics are over all other axes.

    Returns:
        Two arrays ``[channels]``.

    Example:
        >>> bias, log_scale = statistics(jnp.array([[1.0], [3.0]]))
        >>> bias.tolist(), round(abs(float(log_scale[0])), 4)
        ([-2.0], 0.0)
    """
    axes = tuple(range(x.ndim - 1))
    return -x.mean(axes), -jnp.log(x.std(axes) + EPSILON)
