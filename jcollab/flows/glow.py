"""Glow: levels of ActNorms, invertible 1 x 1 convolutions and affine couplings, and splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.flows import preprocess
from jcollab.flows.flow import Flow, check_condition
from jcollab.flows.level import Convolution, Level, fit_level, init_level, steps_of
from jcollab.flows.scales import MultiScale, Squeezed, squeeze

PyTree = Any
Array = jax.Array
MEAN_NOISE = 0.5  # of the uniform noise, for calls without noise


def glow(
    *,
    levels: int = 3,
    steps: int = 32,
    width: int = 512,
    convolution: Convolution = "full",
    decoding: preprocess.Decoding = "released",
    gray_levels: int = 256,
    num_classes: int | None = None,
    remat: bool = False,
    seed: int = 0,
) -> Flow:
    """Builds Glow for images in [0, 1].

        logits -> squeeze -> level 1 -> unsqueeze,    step = coupling(conv(actnorm(x)))

    A level consists of K steps; the next level is applied to half of the squeezed channels. The
    latents of all scales form one array of the image's shape, with the prior N(0, I). The
    parameters are ``{"levels": one tree per level, with leaves [K, ...]}``.

    Args:
        levels: L, at least 1; height and width must be divisible by 2^L.
        steps: K of each level, at least 1. Steps form one loop: compile time is independent of K.
        width: channels inside the couplings' networks.
        convolution: ``"full"`` matrices, as in the released code, or ``"lu"`` factors.
        decoding: ``"released"`` applies only the sigmoid, which reduces the contrast of decoded
            images to 9/10; ``"corrected"`` inverts all of ``encode``,
            see :func:`jcollab.flows.preprocess.from_logits`.
        gray_levels: of the images, 256 for bytes.
        num_classes: C of a condition ``[b, C]`` of every coupling; None for no condition.
        remat: whether the backward pass recomputes the values inside steps instead of storing them.
        seed: of the fixed permutations and signs, and of the initial rotations, of ``"lu"``.

    Returns:
        A :class:`Flow`. ``init(key, x, condition=None)`` fits every ActNorm to the batch x.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> flow = jc.flows.glow(levels=1, steps=2, width=8)
        >>> x = jnp.full((2, 4, 4, 1), 0.5)
        >>> params = jax.eval_shape(flow.init, jax.random.key(0), x)
        >>> z, log_det = jax.eval_shape(flow.encode, params, x)
        >>> z.shape, log_det.shape
        ((2, 4, 4, 1), (2,))

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039, in the form of Yuksel, Stich, Jaggi and
    Chavdarova 2021, arXiv 2108.07958 (3 levels, 32 steps, width 512 for CIFAR-10; 1, 12 and 512 for
    MNIST).
    """
    checks.counts(levels=levels, steps=steps, width=width)
    checks.seed("seed", seed)
    if convolution not in get_args(Convolution):
        raise ValueError(f"convolution must be one of {get_args(Convolution)}, got {convolution!r}")
    preprocess.check_decoding(decoding, gray_levels)

    def settings(number: int, channels: int) -> Level:
        return Level(channels, steps, width, convolution, (seed, number), remat)

    def to_logits(x: Array, noise: Any) -> tuple[Array, Array]:
        noise = MEAN_NOISE if noise is None else noise
        return preprocess.to_logits(jnp.asarray(x), noise, decoding, gray_levels)

    def bijector(params: PyTree, condition: Any = None) -> distrax.Bijector:
        check_condition(condition, num_classes)
        if len(params["levels"]) != levels:
            raise ValueError(f"params must have {levels} levels, got {len(params['levels'])}")
        # channels are read off the parameters, since a bijector has no image yet
        return join_levels(
            [
                steps_of(settings(number, own["norm"]["bias"].shape[-1]), own, condition)
                for number, own in enumerate(params["levels"])
            ]
        )

    # compiled as one program, which is much faster than its many small operations one by one
    @jax.jit
    def draw(key: Array, x: Array, condition: Any) -> PyTree:
        noise_key, key = jax.random.split(key)

        def init_and_fit(number: int, x: Array) -> tuple[PyTree, Array]:
            level = settings(number, x.shape[-1])
            own = init_level(level, jax.random.fold_in(key, number), x, condition)
            return fit_level(level, own, x, condition)

        logits, _ = to_logits(x, dequantization_noise(noise_key, x))
        return {"levels": visit_levels(logits, levels, init_and_fit)}

    def init(key: Array, x: Array, condition: Any = None) -> PyTree:
        _check_images(x, levels)
        preprocess.check_values(x)
        check_condition(condition, num_classes)
        return draw(key, jnp.asarray(x), condition)

    def encode(
        params: PyTree, x: Array, noise: Any = None, condition: Any = None
    ) -> tuple[Array, Array]:
        _check_images(x, levels)
        y, before = to_logits(x, noise)
        z, log_det = bijector(params, condition).forward_and_log_det(y)
        return z, before + log_det

    def decode(params: PyTree, z: Array, noise: Any = None, condition: Any = None) -> Array:
        noise = MEAN_NOISE if noise is None else noise
        y = bijector(params, condition).inverse(z)
        return preprocess.from_logits(y, noise, decoding, gray_levels)

    def refit(params: PyTree, x: Array, noise: Any = None, condition: Any = None) -> PyTree:
        def fit(number: int, x: Array) -> tuple[PyTree, Array]:
            level = settings(number, x.shape[-1])
            return fit_level(level, params["levels"][number], x, condition)

        return {"levels": visit_levels(to_logits(x, noise)[0], levels, fit)}

    offset = _offset(decoding, gray_levels)
    return Flow(init, encode, decode, bijector, dequantization_noise, offset, num_classes, refit)


def _offset(decoding: preprocess.Decoding, gray_levels: int) -> float:
    """Computes the offset of the negative log-likelihood, see :class:`Flow`."""
    # gray levels are 1 / gray_levels apart in q, to which the determinant of "released" belongs,
    # and 1 / (gray_levels - 1) apart in x, to which that of "corrected" belongs
    cells = gray_levels if decoding == "released" else gray_levels - 1
    return float(np.log(cells))


def join_levels(levels: Sequence[distrax.Bijector]) -> distrax.Bijector:
    """Builds the multi-scale flow from the bijectors of its levels, in the order of the flow."""
    *outer, inner = levels
    # from the inside out: the last level is the innermost bijector
    for level in reversed(outer):
        inner = MultiScale(level, inner)
    return Squeezed(inner)


def visit_levels(
    logits: Array, levels: int, visit: Callable[[int, Array], tuple[PyTree, Array]]
) -> list[PyTree]:
    """Calls ``visit(index, x) -> (result, steps(x))`` at each level and collects the results.

    Args:
        logits: ``[b, height, width, channels]``.
        levels: L.
        visit: called with the input of each level, squeezed images.

    Returns:
        The L results.
    """
    results = []
    x = squeeze(logits)
    for number in range(levels):
        result, x = visit(number, x)
        results.append(result)
        # the same split as in MultiScale: the first half of the squeezed channels goes on
        if number < levels - 1:
            x = squeeze(x)
            x = x[..., : x.shape[-1] // 2]
    return results


def dequantization_noise(key: Array, x: Array) -> Array:
    """Draws uniform noise in [0, 1) of the shape of the images."""
    checks.floats("x", x)
    return jax.random.uniform(key, x.shape, x.dtype)


def _check_images(x: Any, levels: int) -> None:
    shape = jnp.shape(x)
    if len(shape) != 4:
        raise ValueError(f"x must be [b, height, width, channels], got shape {list(shape)}")
    if shape[1] % 2**levels or shape[2] % 2**levels:
        raise ValueError(
            f"height and width must be divisible by {2**levels} for levels={levels}, got "
            f"{shape[1]} x {shape[2]}"
        )
