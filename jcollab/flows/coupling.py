"""The affine coupling layer of Glow and its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from jcollab.flows.actnorm import statistics
from jcollab.layout import kernels
from jcollab.layout.kernels import add_bias

Array = jax.Array
SMALL = nn.initializers.normal(0.05)
PADS = ((1, 1), (1, 1))


class AffineCoupling(distrax.Bijector):
    """A bijector that shifts and scales one half of the channels as a function of the other half.

        (x_a, x_b) = halves of x,   (s, t) = net(x_b),   s <- scale tanh(s)
        y_a = (x_a + t) exp(s),   y_b = x_b,   log_det = sum s

    Args:
        net: ``net(x_b) -> (s, t)``, each ``[..., channels / 2]``.
        scale: ``[channels / 2]``.

    Example:
        >>> block = jc.flows.AffineCoupling(lambda b: (jnp.zeros_like(b), b), jnp.ones(1))
        >>> block.forward(jnp.array([[[3.0, 5.0]]])).tolist()  # s = 0 and t = x_b
        [[[8.0, 5.0]]]

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039, in the form of Yuksel, Stich, Jaggi and
    Chavdarova 2021, arXiv 2108.07958.
    """

    def __init__(self, net: Callable[[Array], tuple[Array, Array]], scale: Array):
        super().__init__(event_ndims_in=3)
        self._net, self._scale = net, scale

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        first, second = jnp.split(x, 2, axis=-1)
        s, t = self._terms(second)
        y = jnp.concatenate([(first + t) * jnp.exp(s), second], -1)
        return y, s.sum((-3, -2, -1))

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        first, second = jnp.split(y, 2, axis=-1)
        s, t = self._terms(second)
        x = jnp.concatenate([first * jnp.exp(-s) - t, second], -1)
        return x, -s.sum((-3, -2, -1))

    def _terms(self, second: Array) -> tuple[Array, Array]:
        s, t = self._net(second)
        # the bound by tanh keeps exp(s) from overflowing; scale is trained
        return self._scale * jnp.tanh(s), t


class NormalizedConv(nn.Module):
    """A convolution without bias followed by ActNorm: ``(conv(x) + bias) exp(logs)``.

    The scale is multiplied into the kernel. Its gradient is then a small product instead of a sum
    over all places, which costs more than the convolution on a CPU.

    Attributes:
        features: output channels.
        size: height and width of the kernel, 3 or 1.
    """

    features: int
    size: int

    @nn.compact
    def __call__(self, x: Array, fit: bool = False, shift: Array | None = None) -> Array:
        """Applies the layer, after initializing ActNorm from the statistics of x if ``fit``.

        Args:
            x: ``[b, height, width, channels]``.
            fit: whether to set ``bias`` and ``logs``; the collection ``"params"`` must be mutable.
            shift: added to the convolution, ``[b, 1, 1, features]``; None for 0.

        Returns:
            ``[b, height, width, features]``.
        """
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", SMALL, shape, x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)
        logs = self.param("logs", nn.initializers.zeros, (self.features,), x.dtype)
        if fit:
            # logs do not enter: they are fitted to the output of the plain convolution
            plain = apply_kernel(x, kernel)
            bias, logs = statistics(plain if shift is None else plain + shift)
            # written back, so that apply(..., mutable=["params"]) returns the fitted values
            self.put_variable("params", "bias", bias)
            self.put_variable("params", "logs", logs)
        # the shift differs between images, so it is not part of the bias
        y = add_bias(apply_kernel(x, kernel * jnp.exp(logs)), bias * jnp.exp(logs))
        return y if shift is None else y + shift * jnp.exp(logs)


class CouplingNet(nn.Module):
    """The network of a coupling: convolutions 3 x 3, 1 x 1 and 3 x 3.

    ActNorm and ReLU follow the first two. Their kernels are initialized from N(0, .05^2) and the
    last kernel with zeros, so that a coupling is initially the identity. The last output is
    multiplied by ``exp(3 logs)``; its even channels are s and its odd channels t. A condition
    ``[b, C]`` adds a linear function of the condition to the first convolution.

    Attributes:
        width: channels between the convolutions.
        features: output channels of the last convolution, even.

    Example:
        >>> net = jc.flows.CouplingNet(width=4, features=2)
        >>> (s, t), params = net.init_with_output(jax.random.key(0), jnp.ones((1, 2, 2, 1)))
        >>> s.shape, float(s.sum()), float(t.sum())
        ((1, 2, 2, 1), 0.0, 0.0)
    """

    width: int
    features: int

    @nn.compact
    def __call__(
        self, x: Array, condition: Array | None = None, fit: bool = False
    ) -> tuple[Array, Array]:
        """Computes s and t, each ``[b, height, width, features / 2]``.

        Args:
            x: ``[b, height, width, channels]``.
            condition: ``[b, C]``, or None.
            fit: whether to initialize the ActNorms from the statistics of x.
        """
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
        # channels are reordered in the small kernel, which is cheaper than in the output
        kernel, bias = (_sorted(leaf * jnp.exp(3 * logs)) for leaf in (kernel, bias))
        s, t = jnp.split(add_bias(apply_kernel(x, kernel), bias), 2, axis=-1)
        return s, t


def _sorted(x: Array) -> Array:
    """Reorders channels: the even ones, then the odd ones."""
    return jnp.concatenate([x[..., ::2], x[..., 1::2]], -1)


def apply_kernel(x: Array, kernel: Array) -> Array:
    """Applies a convolution of stride 1 that keeps the size of the image."""
    if kernel.shape[:2] == (1, 1):
        return x @ kernel[0, 0]
    *batch, h, w, _ = x.shape  # distrax may call a bijector with a single event, without a batch
    x = x.reshape(-1, *x.shape[-3:])
    return kernels.apply_kernel(x, kernel, (1, 1), PADS).reshape(*batch, h, w, -1)


def coupling(
    net: nn.Module, params: Any, condition: Array | None = None, scale: Array | None = None
) -> AffineCoupling:
    """Builds the coupling of a network with parameters.

    Args:
        net: the network, for example a :class:`CouplingNet`.
        params: ``{"net": parameters of the network, "scale": [channels / 2]}``.
        condition: ``[b, C]``, passed to the network; or None.
        scale: instead of ``params["scale"]``; or None.

    Example:
        >>> net = jc.flows.CouplingNet(width=4, features=2)
        >>> x = jnp.ones((1, 2, 2, 2))
        >>> own = net.init(jax.random.key(0), x[..., 1:])["params"]
        >>> block = jc.flows.coupling(net, {"net": own, "scale": jnp.ones(1)})
        >>> bool((block.forward(x) == x).all())  # initially the identity
        True
    """
    scale = params["scale"] if scale is None else scale

    def apply(x: Array) -> Any:
        return net.apply({"params": params["net"]}, x, condition)

    return AffineCoupling(apply, scale)
