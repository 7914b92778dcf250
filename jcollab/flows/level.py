"""One level of Glow: K steps of ActNorm, invertible 1 x 1 convolution and affine coupling."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from jcollab.flows import invertible_convolution as convolutions
from jcollab.flows.actnorm import ActNorm, statistics
from jcollab.flows.coupling import CouplingNet, coupling
from jcollab.flows.scales import Repeated

PyTree = Any
Array = jax.Array
Convolution = Literal["full", "lu"]


class Level(NamedTuple):
    """Settings of one level, on squeezed images ``[b, height, width, channels]``.

    Attributes:
        channels: of the squeezed images.
        steps: K.
        width: channels inside the couplings' networks.
        convolution: ``"full"`` or ``"lu"``.
        seed: two numbers, of :func:`fixed_factors`.
        remat: whether the backward pass computes steps again.
    """

    channels: int
    steps: int
    width: int
    convolution: Convolution
    seed: tuple[int, int]
    remat: bool

    @property
    def net(self) -> CouplingNet:
        """The network of every coupling."""
        return CouplingNet(self.width, self.channels)


@functools.lru_cache(maxsize=32)  # decompositions of many steps take a while
def fixed_factors(
    steps: int, channels: int, seed: tuple[int, int]
) -> tuple[PyTree, np.ndarray, np.ndarray]:
    """LU factors of K random rotations: trained ones, permutations and signs, ``[K, ...]``."""
    rng = np.random.default_rng(seed)
    rotations = np.linalg.qr(rng.normal(size=(steps, channels, channels)))[0]
    trained, orders, signs = zip(*map(convolutions.factors, rotations), strict=True)
    return jax.tree.map(lambda *rows: np.stack(rows), *trained), np.stack(orders), np.stack(signs)


def init_level(level: Level, key: Array, x: Array, condition: Any) -> PyTree:
    """Parameters ``{"norm", "conv", "coupling"}``, leaves ``[K, ...]``, before ActNorms are set."""
    conv_key, net_key = jax.random.split(key)
    shape = (level.steps, level.channels)
    zeros, ones = jnp.zeros(shape, x.dtype), jnp.ones((shape[0], shape[1] // 2), x.dtype)
    first = None if condition is None else condition[:1]

    def init_net(key: Array) -> PyTree:
        return level.net.init(key, x[:1, ..., level.channels // 2 :], first)["params"]

    return {
        "norm": {"bias": zeros, "logs": zeros},
        "conv": init_convolutions(level, conv_key, x.dtype),
        "coupling": {
            "net": jax.vmap(init_net)(jax.random.split(net_key, level.steps)),
            "scale": ones,
        },
    }


def init_convolutions(level: Level, key: Array, dtype: Any) -> PyTree:
    """K rotations: matrices drawn with the key, or the factors of :func:`fixed_factors`."""
    if level.convolution == "full":
        rotate = jax.vmap(lambda k: convolutions.random_rotation(k, level.channels, dtype))
        return {"weight": rotate(jax.random.split(key, level.steps))}
    trained, _, _ = fixed_factors(level.steps, level.channels, level.seed)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), trained)


def with_fixed(level: Level, params: PyTree) -> PyTree:
    """The parameters, and the permutations and signs that are not trained."""
    if level.convolution == "full":
        return params
    _, order, sign = fixed_factors(level.steps, level.channels, level.seed)
    dtype = params["conv"]["lower"].dtype
    return {**params, "order": jnp.asarray(order), "sign": jnp.asarray(sign, dtype)}


def convolution_of(level: Level, own: PyTree) -> distrax.Bijector:
    """The invertible convolution of one step."""
    if level.convolution == "full":
        return convolutions.InvertibleConvolution(own["conv"]["weight"])
    return convolutions.LUConvolution(**own["conv"], permutation=own["order"], sign=own["sign"])


def step_of(level: Level, own: PyTree, condition: Any) -> distrax.Bijector:
    """One step: ActNorm first, the coupling last."""
    norm = ActNorm(own["norm"]["bias"], own["norm"]["logs"])
    last = coupling(level.net, own["coupling"], condition)
    return distrax.Chain([last, convolution_of(level, own), norm])


def steps_of(level: Level, params: PyTree, condition: Any) -> Repeated:
    """All K steps of parameters ``[K, ...]``, as one loop."""

    def build(own: PyTree) -> distrax.Bijector:
        return step_of(level, own, condition)

    return Repeated(build, with_fixed(level, params), remat=level.remat)


def fit_level(level: Level, params: PyTree, x: Array, condition: Any) -> tuple[PyTree, Array]:
    """Sets every ActNorm by what arrives at it of a batch.

    Args:
        level: its settings.
        params: leaves ``[K, ...]``.
        x: squeezed images, ``[b, height, width, channels]``.
        condition: ``[b, C]`` or None.

    Returns:
        The new parameters, and the images after all steps.
    """

    def fit_step(x: Array, own: PyTree) -> tuple[Array, PyTree]:
        bias, logs = statistics(x)
        own = {**own, "norm": {"bias": bias, "logs": logs}}
        mixed = convolution_of(level, own).forward(ActNorm(bias, logs).forward(x))
        _, new = level.net.apply(
            {"params": own["coupling"]["net"]},
            mixed[..., level.channels // 2 :],
            condition,
            fit=True,
            mutable=["params"],
        )
        own = {**own, "coupling": {**own["coupling"], "net": new["params"]}}
        return step_of(level, own, condition).forward(x), own

    x, fitted = jax.lax.scan(fit_step, x, with_fixed(level, params))
    return {name: fitted[name] for name in params}, x
