"""ActNorm, a shift and a scale per channel that are initialized from a batch."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp

Array = jax.Array
EPSILON = 1e-6  # keeps the logarithm finite for a channel that is constant over the batch


class ActNorm(distrax.Bijector):
    """A shift and a scale of each channel.

        y = (x + bias) exp(log_scale),   log_det = height width sum(log_scale)

    Args:
        bias: ``[channels]``.
        log_scale: ``[channels]``.

    Example:
        >>> norm = jc.flows.ActNorm(jnp.array([1.0]), jnp.log(jnp.array([2.0])))
        >>> y, log_det = norm.forward_and_log_det(jnp.zeros((3, 4, 1)))
        >>> float(y[0, 0, 0]), round(float(log_det), 2)  # 12 log 2
        (2.0, 8.32)

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039.
    """

    def __init__(self, bias: Array, log_scale: Array):
        super().__init__(event_ndims_in=3, is_constant_jacobian=True)
        self._bias, self._log_scale = bias, log_scale

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        return (x + self._bias) * jnp.exp(self._log_scale), self._log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        return y * jnp.exp(-self._log_scale) - self._bias, -self._log_det(y)

    def _log_det(self, x: Array) -> Array:
        # every place of the image is scaled by the same factors
        places = x.shape[-3] * x.shape[-2]
        return jnp.broadcast_to(places * self._log_scale.sum(), x.shape[:-3])


def statistics(x: Array) -> tuple[Array, Array]:
    """Computes the bias and log-scale that standardize each channel of a batch.

        bias = -mean(x),   log_scale = -log(std(x) + 1e-6)

    Args:
        x: ``[..., channels]``; the statistics are taken over all other axes.

    Returns:
        ``(bias, log_scale)``, each ``[channels]``.

    Example:
        >>> bias, log_scale = statistics(jnp.array([[1.0], [3.0]]))
        >>> bias.tolist(), round(abs(float(log_scale[0])), 4)
        ([-2.0], 0.0)
    """
    axes = tuple(range(x.ndim - 1))
    return -x.mean(axes), -jnp.log(x.std(axes) + EPSILON)
