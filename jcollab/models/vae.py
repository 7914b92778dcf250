"""A variational auto-encoder of images, with the interface of a normalizing flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jcollab import checks

PyTree = Any
Array = jax.Array


class Encoder(nn.Module):
    """Dense layers to the mean and the log-variance of ``d`` latents.

    Attributes:
        latents: d.
        hidden: widths of the hidden layers.
    """

    latents: int
    hidden: Sequence[int]

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Computes mean and log-variance, each ``[b, d]``, of images ``[b, ...]``."""
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        mean, log_variance = jnp.split(nn.Dense(2 * self.latents)(x), 2, axis=-1)
        return mean, log_variance


class Decoder(nn.Module):
    """Dense layers from latents to the logits of pixels.

    Attributes:
        shape: shape of an image, ``(height, width, channels)``.
        hidden: widths of the hidden layers.
    """

    shape: Sequence[int]
    hidden: Sequence[int]

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """Computes logits ``[b, height, width, channels]`` of latents ``[b, d]``."""
        for width in self.hidden:
            z = nn.relu(nn.Dense(width)(z))
        size = 1
        for side in self.shape:
            size *= side
        return nn.Dense(size)(z).reshape(z.shape[0], *self.shape)


class VAE(NamedTuple):
    """A variational auto-encoder as pure functions, which :func:`vae` returns.

    It can be used instead of a flow in :mod:`jcollab.flows.perturb`.

    Attributes:
        init: ``init(key, x) -> params``.
        encode: ``encode(params, x, noise=None, condition=None) -> (mean [b, d], log_variance)``.
        decode: ``decode(params, z, noise=None, condition=None) -> images in (0, 1)``.
        loss: ``loss(params, batch, key) -> (negative evidence lower bound, {})``, a loss of one
            client.
        noise: always None, since encoding uses no noise.
    """

    init: Callable[..., PyTree]
    encode: Callable[..., tuple[Array, Array]]
    decode: Callable[..., Array]
    loss: Callable[..., tuple[Array, dict[str, Array]]]
    noise: None = None


def vae(
    shape: Sequence[int], *, latents: int = 32, hidden: Sequence[int] = (256,), weight: float = 1.0
) -> VAE:
    """Builds a VAE with Bernoulli pixels and a standard normal prior.

        loss = mean over images of  BCE(x, decode(m + s n)) + weight KL( N(m, s^2) || N(0, 1) )

    Args:
        shape: shape of an image, ``(height, width, channels)``.
        latents: d, at least 1.
        hidden: widths of the hidden layers of the encoder; the decoder has them in reverse order.
        weight: weight of the divergence, at least 0.

    Returns:
        A :class:`VAE`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> model = jc.models.vae((4, 4, 1), latents=2, hidden=(8,))
        >>> x = jnp.zeros((3, 4, 4, 1))
        >>> params = jax.eval_shape(model.init, jax.random.key(0), x)
        >>> mean, _ = jax.eval_shape(model.encode, params, x)
        >>> jax.eval_shape(model.decode, params, mean).shape
        (3, 4, 4, 1)

    Source: Kingma and Welling 2014, arXiv 1312.6114; as a baseline of latent perturbations Stutz,
    Hein and Schiele 2019, arXiv 1812.00740.
    """
    checks.count("latents", latents)
    checks.integers("shape", shape, ("3",), at_least=1)
    checks.number("weight", weight, at_least=0)
    encoder = Encoder(latents, tuple(hidden))
    decoder = Decoder(tuple(shape), tuple(hidden)[::-1])

    def init(key: Array, x: Array, condition: Any = None) -> PyTree:
        checks.floats("x", x)
        first, second = jax.random.split(key)
        return {
            "encoder": encoder.init(first, jnp.asarray(x)[:1]),
            "decoder": decoder.init(second, jnp.zeros((1, latents))),
        }

    def encode(params: PyTree, x: Array, noise: Any = None, condition: Any = None) -> Any:
        checks.floats("x", x)
        return encoder.apply(params["encoder"], x)

    def logits(params: PyTree, z: Array) -> Any:
        return decoder.apply(params["decoder"], z)

    def decode(params: PyTree, z: Array, noise: Any = None, condition: Any = None) -> Array:
        return jax.nn.sigmoid(logits(params, z))

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        mean, log_variance = encode(params, batch.x)
        draw = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape, mean.dtype)
        # from logits: logarithms of a sigmoid that rounds to 0 or 1 would be infinite
        bits = optax.sigmoid_binary_cross_entropy(logits(params, draw), batch.x)
        divergence = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)
        return (bits.sum((1, 2, 3)) + weight * divergence).mean(), {}

    return VAE(init, encode, decode, loss)
