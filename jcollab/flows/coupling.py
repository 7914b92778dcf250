"""Affine coupling of Glow, and its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from jcollab.flows.actnorm import statistics
from jcollab.models.kernels import narrow
from jcollab.models.kernels.convolution import add_bias

Array = jax.Array
SMALL = nn.initializers.normal(0.05)
PADS = ((1, 1), (1, 1))


class AffineCoupling(distrax.Bijector):
    """One half of the channels, shifted and scaled as a function of the other half.

        (x_a, x_b) = halves of x,   (s, t) = net(x_b),   s <- scale tanh(s)
        y_a = (x_a + t) exp(s),   y_b = x_b,   log_det = sum s

    Args:
        net: ``net(x_b) -> (s, t)``, each ``[..., channels / 2]``.
        scale: ``[channels / 2]``.

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039, in the form of Yuksel, Stich, Jaggi and
    Chavdarova 2021, arXiv 2108.07958.
    """

    def __init__(self, net: Callable[[Array], tuple[Array, Array]], scale: Array):
        super().__init__(event_ndims_in=3)
        self._net, self._scale = net, scale

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """``[..., height, width, channels]`` and ``[...]``."""
        first, second = jnp.split(x, 2, axis=-1)
        s, t = self._terms(second)
        y = jnp.concatenate([(first + t) * jnp.exp(s), second], -1)
        return y, s.sum((-3, -2, -1))

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """``[..., height, width, channels]`` and ``[...]``."""
        first, second = jnp.split(y, 2, axis=-1)
        s, t = self._terms(second)
        x = jnp.concatenate([first * jnp.exp(-s) - t, second], -1)
        return x, -s.sum((-3, -2, -1))

    def _terms(self, second: Array) -> tuple[Array, Array]:
        s, t = self._net(second)
        return self._scale * jnp.tanh(s), t


class NormalizedConv(nn.Module):
    """Convolution without bias, then ActNorm: ``(conv(x) + bias) exp(logs)``.

    The scale is multiplied into the kernel: its gradient is then a small product instead of a sum
    over all places, which on a CPU costs more than the convolution.

    Attributes:
        features: output channels.
        size: height and width of the kernel, 3 or 1.
    """

    features: int
    size: int

    @nn.compact
    def __call__(self, x: Array, fit: bool = False, shift: Array | None = None) -> Array:
        """``[b, height, width, features]``; with ``fit``, statistics of x become parameters."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", SMALL, shape, x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)
        logs = self.param("logs", nn.initializers.zeros, (self.features,), x.dtype)
        if fit:
            plain = apply_kernel(x, kernel)
            bias, logs = statistics(plain if shift is None else plain + shift)
            self.put_variable("params", "bias", bias)
            self.put_variable("params", "logs", logs)
        y = add_bias(apply_kernel(x, kernel * jnp.exp(logs)), bias * jnp.exp(logs))
        return y if shift is None else y + shift * jnp.exp(logs)


class CouplingNet(nn.Module):
    """Convolution 3 x 3, 1 x 1 and 3 x 3, the first two with ActNorm and ReLU.

    Convolutions start at N(0, .05^2), the last one at zero, so that a coupling starts as the
    identity; its output is multiplied by ``exp(3 logs)``, and of its channels the even ones are s
    and the odd ones t. They are sorted in the kernel, not in the output. A condition ``[b, C]``
    adds a linear map of itself to the first convolution.

    Attributes:
        width: channels between the convolutions.
        features: output channels of the last convolution, even.
    """

    width: int
    features: int

    @nn.compact
    def __call__(
        self, x: Array, condition: Array | None = None, fit: bool = False
    ) -> tuple[Array, Array]:
        """``[b, height, width, channels]`` to s and t, ``[b, height, width, features / 2]``."""
        shift = None
        if condition is not None:
            condition = condition.astype(x.dtype)
            dense = nn.Dense(self.width, use_bias=False, kernel_init=SMALL, name="condition")
            shift = dense(condition)[..., None, None, :]
        x = nn.relu(NormalizedConv(self.width, 3, name="first")(x, fit, shift))
        x = nn.relu(NormalizedConv(self.width, 1, name="middle")(x, fit))
        zeros = nn.initializers.zeros
        kernel = self.param("kernel", zeros, (3, 3, self.width, self.features), x.dtype)
        bias = self.param("bias", zeros, (self.features,), x.dtype)
        logs = self.param("logs", zeros, (self.features,), x.dtype)
        kernel, bias = (_sorted(leaf * jnp.exp(3 * logs)) for leaf in (kernel, bias))
        s, t = jnp.split(add_bias(apply_kernel(x, kernel), bias), 2, axis=-1)
        return s, t


def _sorted(x: Array) -> Array:
    """Even channels, then odd ones."""
    return jnp.concatenate([x[..., ::2], x[..., 1::2]], -1)


def apply_kernel(x: Array, kernel: Array) -> Array:
    """Convolution of stride 1 that keeps the size; a matrix product where the kernel is 1 x 1."""
    if kernel.shape[:2] == (1, 1):
        return x @ kernel[0, 0]
    *batch, h, w, _ = x.shape  # distrax maps bijectors over single events
    x = x.reshape(-1, *x.shape[-3:])
    return narrow.apply_kernel(x, kernel, PADS).reshape(*batch, h, w, -1)


def coupling(
    net: nn.Module, params: Any, condition: Array | None = None, scale: Array | None = None
) -> AffineCoupling:
    """The coupling of a network with parameters ``{"net", "scale"}``."""
    scale = params["scale"] if scale is None else scale

    def apply(x: Array) -> Any:
        return net.apply({"params": params["net"]}, x, condition)

    return AffineCoupling(apply, scale)
