"""A conditional coupling flow on flat vectors, which changes both halves in every block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.flows.flow import Flow, check_condition
from jcollab.flows.scales import Repeated
from jcollab.models.torch_layers import UNIFORM

PyTree = Any
Array = jax.Array
# the constant of the released library, about 2 / pi: it bounds log-scales by clamp
ATAN_SCALE = 0.636


class ConditionalCoupling(distrax.Bijector):
    """A bijector that shifts and scales each half as a function of the other half and a condition.

        (s2, t2) = net2(x2, c),  y1 = exp(r(s2)) x1 + t2
        (s1, t1) = net1(y1, c),  y2 = exp(r(s1)) x2 + t1,    r(s) = clamp 0.636 atan(s)
        log_det = sum r(s1) + sum r(s2)

    Args:
        first: net1, ``first(y1 [..., d1]) -> [..., 2 d2]``, scales before shifts.
        second: net2, ``second(x2 [..., d2]) -> [..., 2 d1]``.
        clamp: bound of log-scales, above 0.

    Example:
        >>> shift = lambda half: jnp.concatenate([0 * half, half], -1)  # s = 0, t = half
        >>> block = jc.flows.ConditionalCoupling(shift, shift)
        >>> block.forward(jnp.array([1.0, 10.0])).tolist()  # y1 = 1 + 10, y2 = 10 + y1
        [11.0, 21.0]

    Source: Ardizzone et al. 2019, arXiv 1907.02392, as in FrEIA 0.2.
    """

    def __init__(
        self, first: Callable[[Array], Array], second: Callable[[Array], Array], clamp: float = 2.0
    ):
        super().__init__(event_ndims_in=1)
        self._first, self._second, self._clamp = first, second, clamp

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., d]`` and its log-determinant ``[...]``."""
        x1, x2 = _halves(x)
        s2, t2 = self._terms(self._second(x2))
        y1 = jnp.exp(s2) * x1 + t2
        s1, t1 = self._terms(self._first(y1))
        y2 = jnp.exp(s1) * x2 + t1
        return jnp.concatenate([y1, y2], -1), s1.sum(-1) + s2.sum(-1)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., d]`` and its log-determinant ``[...]``."""
        y1, y2 = _halves(y)
        # the halves are undone in the opposite order: net1 was applied to y1, which is known
        s1, t1 = self._terms(self._first(y1))
        x2 = (y2 - t1) * jnp.exp(-s1)
        s2, t2 = self._terms(self._second(x2))
        x1 = (y1 - t2) * jnp.exp(-s2)
        return jnp.concatenate([x1, x2], -1), -s1.sum(-1) - s2.sum(-1)

    def _terms(self, out: Array) -> tuple[Array, Array]:
        raw, shift = jnp.split(out, 2, axis=-1)
        return self._clamp * ATAN_SCALE * jnp.arctan(raw), shift


class Permuted(distrax.Bijector):
    """A permutation along the last axis: ``y_i = x[order_i]``, ``log_det = 0``.

    Args:
        order: int ``[d]``, a permutation.

    Example:
        >>> jc.flows.Permuted(jnp.array([2, 0, 1])).forward(jnp.array([5.0, 6.0, 7.0])).tolist()
        [7.0, 5.0, 6.0]
    """

    def __init__(self, order: Array):
        super().__init__(event_ndims_in=1, is_constant_jacobian=True)
        self._order = order

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., d]`` and zeros ``[...]``."""
        return x[..., self._order], jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., d]`` and zeros ``[...]``."""
        return y[..., jnp.argsort(self._order)], jnp.zeros(y.shape[:-1], y.dtype)


class Subnet(nn.Module):
    """A dense layer, ReLU and a dense layer, applied to the input and the condition.

    Attributes:
        hidden: width between the layers.
        features: output width.
    """

    hidden: int
    features: int

    @nn.compact
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Computes ``[..., features]`` from ``x [..., d]`` and ``condition [..., C]``, if any."""
        if condition is not None:
            x = jnp.concatenate([x, condition.astype(x.dtype)], -1)
        kind: dict[str, Any] = {"kernel_init": UNIFORM, "param_dtype": x.dtype}
        # names of the released code, whose layer 1 is the ReLU
        x = nn.relu(nn.Dense(self.hidden, name="0", **kind)(x))
        return nn.Dense(self.features, name="2", **kind)(x)


def conditional_coupling(
    params: PyTree, condition: Array | None = None, clamp: float = 2.0
) -> ConditionalCoupling:
    """Builds one block from the parameters of its two networks.

    Args:
        params: ``{"subnet1", "subnet2"}``, two dense layers ``"0"`` and ``"2"`` each; the widths
            follow from the shapes.
        condition: ``[b, C]``, or None.
        clamp: as for :class:`ConditionalCoupling`.

    Example:
        >>> layer = {"kernel": jnp.zeros((1, 2)), "bias": jnp.zeros(2)}
        >>> last = {"kernel": jnp.zeros((2, 2)), "bias": jnp.array([0.0, 3.0])}  # s = 0, t = 3
        >>> net = {"0": layer, "2": last}
        >>> block = jc.flows.conditional_coupling({"subnet1": net, "subnet2": net})
        >>> block.forward(jnp.array([1.0, 2.0])).tolist()
        [4.0, 5.0]
    """

    def net(name: str) -> Callable[[Array], Any]:
        own = params[name]
        module = Subnet(*(own[layer]["kernel"].shape[-1] for layer in ("0", "2")))
        return lambda x: module.apply({"params": own}, x, condition)

    return ConditionalCoupling(net("subnet1"), net("subnet2"), clamp)


def coupling_flow(
    *,
    blocks: int = 12,
    hidden: int = 512,
    num_classes: int | None = 10,
    clamp: float = 2.0,
    gray_levels: int = 256,
) -> Flow:
    """Builds the flow of the MNIST and Fashion-MNIST experiments: K coupling blocks.

    A fixed permutation follows each block. The flow encodes images as flat vectors, without logits
    and without noise; train it on :func:`jittered` images. Decoded values may leave [0, 1]. The
    permutations are drawn with ``np.random.RandomState(k)`` for k = 0 to K - 1. The default flow
    has 14 604 672 parameters for 28 x 28 images and 10 classes.

    Args:
        blocks: K, at least 1; they are applied in one loop, as in :func:`jcollab.flows.glow`.
        hidden: width of the networks, at least 1.
        num_classes: C of the condition ``[b, C]``, one-hot labels; None for no condition.
        clamp: bound of log-scales, above 0.
        gray_levels: of the images, at least 2; only bits per dimension depend on it.

    Returns:
        A :class:`Flow` with parameters ``[K, ...]``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=2, hidden=4, num_classes=None)
        >>> x = jnp.array([[[[0.1], [0.9]]]])  # one image of 1 x 2 pixels
        >>> params = flow.init(jax.random.key(0), x)
        >>> z, log_det = flow.encode(params, x)
        >>> z.shape, bool(jnp.allclose(flow.decode(params, z), x, atol=1e-5))
        ((1, 1, 2, 1), True)

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """
    checks.counts(blocks=blocks, hidden=hidden)
    checks.number("clamp", clamp, above=0)
    checks.count("gray_levels", gray_levels, 2)

    def init(key: Array, x: Array, condition: Any = None) -> PyTree:
        checks.floats("x", x)
        check_condition(condition, num_classes)
        flat = jnp.reshape(x, (len(x), -1))[:1]  # one image: only its size matters
        halves = _halves(flat)
        given = None if condition is None else jnp.asarray(condition)[:1]

        def one(key: Array) -> PyTree:
            keys = jax.random.split(key)
            names = ("subnet1", "subnet2")
            # each network maps one half to scales and shifts of the other half
            return {
                name: Subnet(hidden, 2 * halves[1 - i].shape[-1]).init(keys[i], halves[i], given)[
                    "params"
                ]
                for i, name in enumerate(names)
            }

        return jax.vmap(one)(jax.random.split(key, blocks))

    def of_vectors(params: PyTree, condition: Any, size: int) -> distrax.Bijector:
        check_condition(condition, num_classes)
        # RandomState keeps its streams between versions of NumPy, and the released code uses it
        orders = jnp.asarray(
            np.stack([np.random.RandomState(k).permutation(size) for k in range(blocks)])
        )

        def build(own: PyTree) -> distrax.Bijector:
            block = conditional_coupling(own["nets"], condition, clamp)
            return distrax.Chain([Permuted(own["order"]), block])

        return Repeated(build, {"nets": params, "order": orders}, event_ndims=1)

    def bijector(params: PyTree, condition: Any = None) -> distrax.Bijector:
        # the last layers have two outputs for every dimension of a half
        size = params["subnet1"]["2"]["kernel"].shape[-1] // 2
        size += params["subnet2"]["2"]["kernel"].shape[-1] // 2
        return OnImages(of_vectors(params, condition, size))

    def encode(
        params: PyTree, x: Array, noise: Any = None, condition: Any = None
    ) -> tuple[Array, Array]:
        checks.floats("x", x)
        check_condition(condition, num_classes)
        return bijector(params, condition).forward_and_log_det(jnp.asarray(x))

    def decode(params: PyTree, z: Array, noise: Any = None, condition: Any = None) -> Array:
        return bijector(params, condition).inverse(z)

    # neighboring gray levels k / (levels - 1) differ by 1 / (levels - 1)
    offset = float(np.log(gray_levels - 1))
    return Flow(init, encode, decode, bijector, None, offset, num_classes)


class OnImages(distrax.Bijector):
    """A bijector of vectors ``[d]`` applied to flattened images ``[height, width, channels]``."""

    def __init__(self, inner: distrax.Bijector):
        super().__init__(event_ndims_in=3)
        self._inner = inner

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        z, log_det = self._inner.forward_and_log_det(x.reshape(*x.shape[:-3], -1))
        return z.reshape(x.shape), log_det

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        x, log_det = self._inner.inverse_and_log_det(y.reshape(*y.shape[:-3], -1))
        return x.reshape(y.shape), log_det


def jittered(x: Array, key: Array, std: float = 0.1) -> Array:
    """Adds Gaussian noise to images: ``clip(x + std N(0, I), 0, 1)``.

    The coupling flow is trained on such images.

    Args:
        x: images in [0, 1], ``[b, ...]``.
        key: random key.
        std: standard deviation of the noise.

    Example:
        >>> x = jc.flows.jittered(jnp.full((1000,), 0.5), jax.random.key(0))
        >>> round(float(x.mean()), 1), round(float(x.std()), 1)
        (0.5, 0.1)
    """
    return jnp.clip(x + std * jax.random.normal(key, x.shape, x.dtype), 0, 1)


def _halves(x: Array) -> tuple[Array, Array]:
    middle = x.shape[-1] // 2
    return x[..., :middle], x[..., middle:]
