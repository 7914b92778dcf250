"""Glow: levels of [ActNorm, invertible 1 x 1 convolution, affine coupling] with a split between."""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.flows import invertible_convolution as convolutions
from jcollab.flows import preprocess
from jcollab.flows.actnorm import ActNorm, statistics
from jcollab.flows.coupling import CouplingNet, coupling
from jcollab.flows.flow import Flow, check_condition
from jcollab.flows.scales import MultiScale, Repeated, Squeezed, squeeze

PyTree = Any
Array = jax.Array
Convolution = Literal["full", "lu"]


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
    """Glow on images in [0, 1].

        logits -> squeeze -> level 1 -> unsqueeze,    level = K steps, then on half the squeezed
        channels the next level;    step = coupling(conv(actnorm(x)))

    Latents of all scales lie in one tensor of the image's shape, with the prior N(0, I).
    Parameters are ``{"levels": one tree for each, with leaves [K, ...]}``.

    Args:
        levels: L, at least 1; height and width must be divisible by 2^L.
        steps: K of each level, at least 1. Steps are one loop: K costs no time to compile.
        width: channels inside the couplings' networks.
        convolution: ``"full"`` matrices, as released, or ``"lu"`` factors.
        decoding: ``"released"`` takes the sigmoid alone, so that decoded images have 9/10 of the
            contrast; ``"corrected"`` undoes all that ``encode`` did,
            see :func:`jcollab.flows.preprocess.from_logits`.
        gray_levels: of the images, 256 for bytes.
        num_classes: C of a condition ``[b, C]`` that every coupling sees; None for none.
        remat: whether the backward pass computes steps again instead of storing what is inside.
        seed: of the fixed permutations and signs, and the initial rotations, of ``"lu"``.

    Returns:
        A :class:`Flow`. ``init(key, x, condition=None)`` sets every ActNorm by the batch x.

    Raises:
        ValueError: if a number or a name is out of its range.

    Example:
        >>> flow = glow(levels=1, steps=2, width=8)
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
    if convolution not in get_args(Convolution):
        raise ValueError(f"convolution must be one of {get_args(Convolution)}, got {convolution!r}")
    preprocess.check_decoding(decoding, gray_levels)

    @functools.cache  # rotations of many steps take a while
    def fixed(level: int, channels: int) -> tuple[PyTree, np.ndarray, np.ndarray]:
        """Initial factors, permutations and signs of a level, ``[K, ...]``."""
        rng = np.random.default_rng((seed, level))
        rotations = np.linalg.qr(rng.normal(size=(steps, channels, channels)))[0]
        factors = [convolutions.factors(rotation) for rotation in rotations]
        trained = jax.tree.map(lambda *rows: np.stack(rows), *(f[0] for f in factors))
        return (
            trained,
            np.stack([f[1] for f in factors]),
            np.stack([f[2] for f in factors]),
        )

    def parts(level: int, channels: int, condition: Any) -> Any:
        """``norm(params)``, ``mix(params, order, sign)`` and the network of a level."""
        net = CouplingNet(width, channels)

        def mix(own: PyTree) -> distrax.Bijector:
            if convolution == "full":
                return convolutions.InvertibleConvolution(own["conv"]["weight"])
            return convolutions.LUConvolution(
                **own["conv"], permutation=own["order"], sign=own["sign"]
            )

        def step(own: PyTree) -> distrax.Bijector:
            norm = ActNorm(own["norm"]["bias"], own["norm"]["logs"])
            return distrax.Chain([coupling(net, own["coupling"], condition), mix(own), norm])

        return net, mix, step

    def with_tables(own: PyTree, level: int, channels: int) -> PyTree:
        if convolution == "full":
            return own
        _, order, sign = fixed(level, channels)
        dtype = own["conv"]["lower"].dtype
        return {**own, "order": jnp.asarray(order), "sign": jnp.asarray(sign, dtype)}

    def bijector(params: PyTree, condition: Any = None) -> distrax.Bijector:
        check_condition(condition, num_classes)
        if len(params["levels"]) != levels:
            raise ValueError(f"params must have {levels} levels, got {len(params['levels'])}")
        inner: distrax.Bijector | None = None
        for level in reversed(range(levels)):
            own = params["levels"][level]
            channels = own["norm"]["bias"].shape[-1]
            step = parts(level, channels, condition)[2]
            here = Repeated(step, with_tables(own, level, channels), remat=remat)
            inner = here if inner is None else MultiScale(here, inner)
        return Squeezed(inner)

    def start(key: Array, level: int, x: Array, condition: Any) -> PyTree:
        """Parameters ``[K, ...]`` of a level before ActNorms are set."""
        channels = x.shape[-1]
        net = CouplingNet(width, channels)
        conv_key, net_key = jax.random.split(key)

        def one(key: Array) -> PyTree:
            return net.init(key, x[:1, ..., channels // 2 :], _first(condition))["params"]

        if convolution == "full":
            keys = jax.random.split(conv_key, steps)
            rotate = jax.vmap(lambda k: convolutions.random_rotation(k, channels, x.dtype))
            conv = {"weight": rotate(keys)}
        else:
            conv = jax.tree.map(lambda a: jnp.asarray(a, x.dtype), fixed(level, channels)[0])
        zeros, ones = jnp.zeros((steps, channels), x.dtype), jnp.ones((steps, channels // 2))
        nets = jax.vmap(one)(jax.random.split(net_key, steps))
        return {
            "norm": {"bias": zeros, "logs": zeros},
            "conv": conv,
            "coupling": {"net": nets, "scale": ones.astype(x.dtype)},
        }

    def fit_level(level: int, own: PyTree, x: Array, condition: Any) -> tuple[PyTree, Array]:
        channels = x.shape[-1]
        net, mix, step = parts(level, channels, condition)

        def one(x: Array, own: PyTree) -> tuple[Array, PyTree]:
            bias, logs = statistics(x)
            own = {**own, "norm": {"bias": bias, "logs": logs}}
            seen = mix(own).forward(ActNorm(bias, logs).forward(x))
            _, new = net.apply(
                {"params": own["coupling"]["net"]},
                seen[..., channels // 2 :],
                condition,
                fit=True,
                mutable=["params"],
            )
            own = {**own, "coupling": {**own["coupling"], "net": new["params"]}}
            return step(own).forward(x), own

        x, fitted = jax.lax.scan(one, x, with_tables(own, level, channels))
        return {name: fitted[name] for name in own}, x

    def walk(x: Array, visit: Any, noise: Any) -> PyTree:
        """Visits levels with what arrives there: ``visit(level, x) -> (params, x)``."""
        noise = 0.5 if noise is None else noise
        x = squeeze(preprocess.to_logits(x, noise, decoding, gray_levels)[0])
        trained_levels = []
        for level in range(levels):
            own, x = visit(level, x)
            trained_levels.append(own)
            if level < levels - 1:
                x = squeeze(x)
                x = x[..., : x.shape[-1] // 2]
        return {"levels": trained_levels}

    @jax.jit
    def init(key: Array, x: Array, condition: Any = None) -> PyTree:
        noise_key, key = jax.random.split(key)

        def visit(level: int, x: Array) -> tuple[PyTree, Array]:
            own = start(jax.random.fold_in(key, level), level, x, condition)
            return fit_level(level, own, x, condition)

        return walk(x, visit, dequantization_noise(noise_key, x))

    def checked_init(key: Array, x: Array, condition: Any = None) -> PyTree:
        _check_images(x, levels)
        check_condition(condition, num_classes)
        return init(key, jnp.asarray(x), condition)

    def encode(
        params: PyTree, x: Array, noise: Any = None, condition: Any = None
    ) -> tuple[Array, Array]:
        _check_images(x, levels)
        noise = 0.5 if noise is None else noise
        y, before = preprocess.to_logits(jnp.asarray(x), noise, decoding, gray_levels)
        z, log_det = bijector(params, condition).forward_and_log_det(y)
        return z, before + log_det

    def decode(params: PyTree, z: Array, noise: Any = None, condition: Any = None) -> Array:
        noise = 0.5 if noise is None else noise
        y = bijector(params, condition).inverse(z)
        return preprocess.from_logits(y, noise, decoding, gray_levels)

    def refit(params: PyTree, x: Array, noise: Any = None, condition: Any = None) -> PyTree:
        def visit(level: int, x: Array) -> tuple[PyTree, Array]:
            return fit_level(level, params["levels"][level], x, condition)

        return walk(jnp.asarray(x), visit, noise)

    # of x -> y the determinant lacks the step from grey levels to [0, 1], of q -> y it does not
    cells = gray_levels if decoding == "released" else gray_levels - 1
    return Flow(
        checked_init,
        encode,
        decode,
        bijector,
        dequantization_noise,
        float(np.log(cells)),
        num_classes,
        refit,
    )


def dequantization_noise(key: Array, x: Array) -> Array:
    """Uniform in [0, 1), of the shape of the images."""
    return jax.random.uniform(key, x.shape, x.dtype)


def _first(condition: Array | None) -> Array | None:
    return None if condition is None else condition[:1]


def _check_images(x: Any, levels: int) -> None:
    shape = jnp.shape(x)
    if len(shape) != 4:
        raise ValueError(f"x must be [b, height, width, channels], got shape {list(shape)}")
    if shape[1] % 2**levels or shape[2] % 2**levels:
        raise ValueError(
            f"height and width must be divisible by {2**levels} for levels={levels}, got "
            f"{shape[1]} x {shape[2]}"
        )
