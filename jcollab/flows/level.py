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
        channels: number of channels of the squeezed images.
        steps: K.
        width: channels inside the couplings' networks.
        convolution: ``"full"`` or ``"lu"``.
        seed: two integers, the seed of :func:`fixed_factors`.
        remat: whether the backward pass recomputes steps.
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


# cached: every call of the bijector needs the factors, and decompositions are slow; drawn with
# NumPy, since permutations and signs are constants of the flow and not parameters
@functools.lru_cache(maxsize=32)
def fixed_factors(
    steps: int, channels: int, seed: tuple[int, int]
) -> tuple[PyTree, np.ndarray, np.ndarray]:
    """Computes LU factors of K random rotations: trained ones, permutations and signs.

    All have a leading axis ``[K, ...]``; see :func:`invertible_convolution.factors`.
    """
    rng = np.random.default_rng(seed)
    rotations = np.linalg.qr(rng.normal(size=(steps, channels, channels)))[0]
    trained, orders, signs = zip(*map(convolutions.factors, rotations), strict=True)
    return jax.tree.map(lambda *rows: np.stack(rows), *trained), np.stack(orders), np.stack(signs)


def init_level(level: Level, key: Array, x: Array, condition: Any) -> PyTree:
    """Draws parameters ``{"norm", "conv", "coupling"}``, leaves ``[K, ...]``, of unfitted ActNorms.

    :func:`fit_level` then fits the ActNorms.
    """
    conv_key, net_key = jax.random.split(key)
    shape = (level.steps, level.channels)
    zeros, ones = jnp.zeros(shape, x.dtype), jnp.ones((shape[0], shape[1] // 2), x.dtype)
    first = None if condition is None else condition[:1]

    def init_net(key: Array) -> PyTree:
        # one image is enough: only its shape matters before ActNorms are fitted
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
    """Returns K rotations: matrices drawn with the key, or the trained LU factors."""
    if level.convolution == "full":
        rotate = jax.vmap(lambda k: convolutions.random_rotation(k, level.channels, dtype))
        return {"weight": rotate(jax.random.split(key, level.steps))}
    trained, _, _ = fixed_factors(level.steps, level.channels, level.seed)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), trained)


def with_fixed(level: Level, params: PyTree) -> PyTree:
    """Returns the parameters together with the permutations and signs, which are not trained."""
    if level.convolution == "full":
        return params
    # beside the parameters, so that the loop over steps slices them, too
    _, order, sign = fixed_factors(level.steps, level.channels, level.seed)
    dtype = params["conv"]["lower"].dtype
    return {**params, "order": jnp.asarray(order), "sign": jnp.asarray(sign, dtype)}


def convolution_of(level: Level, own: PyTree) -> distrax.Bijector:
    """Builds the invertible convolution of one step."""
    if level.convolution == "full":
        return convolutions.InvertibleConvolution(own["conv"]["weight"])
    return convolutions.LUConvolution(**own["conv"], permutation=own["order"], sign=own["sign"])


def step_of(level: Level, own: PyTree, condition: Any) -> distrax.Bijector:
    """Builds one step: ActNorm, convolution and coupling, applied in this order."""
    norm = ActNorm(own["norm"]["bias"], own["norm"]["logs"])
    last = coupling(level.net, own["coupling"], condition)
    # distrax applies the last bijector of a chain first
    return distrax.Chain([last, convolution_of(level, own), norm])


def steps_of(level: Level, params: PyTree, condition: Any) -> Repeated:
    """Builds all K steps from parameters ``[K, ...]``, as one loop."""

    def build(own: PyTree) -> distrax.Bijector:
        return step_of(level, own, condition)

    return Repeated(build, with_fixed(level, params), remat=level.remat)


def fit_level(level: Level, params: PyTree, x: Array, condition: Any) -> tuple[PyTree, Array]:
    """Fits every ActNorm to the values that a batch has at this layer.

    Args:
        level: settings of the level.
        params: leaves ``[K, ...]``.
        x: squeezed images, ``[b, height, width, channels]``.
        condition: ``[b, C]`` or None.

    Returns:
        The new parameters, and the images after all steps.
    """

    # in the order of the flow: the input of a step depends on the fitted steps before it
    def fit_step(x: Array, own: PyTree) -> tuple[Array, PyTree]:
        bias, logs = statistics(x)
        own = {**own, "norm": {"bias": bias, "logs": logs}}
        mixed = convolution_of(level, own).forward(ActNorm(bias, logs).forward(x))
        # the network fits its own ActNorms on the way, to the half that it gets as input
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
    # without the permutations and signs, which with_fixed() added
    return {name: fitted[name] for name in params}, x
