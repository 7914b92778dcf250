"""The interface of flows, their likelihood and their samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import one_hot

PyTree = Any
Array = jax.Array


class Flow(NamedTuple):
    """An invertible map from images to latents of the same shape, as pure functions.

    Attributes:
        init: ``init(key, x, condition=None) -> params``; depends on the batch ``x [b, ...]``.
        encode: ``encode(params, x, noise=None, condition=None) -> (z [b, ...], log_det [b])`` of
            images in [0, 1], including the preprocessing.
        decode: ``decode(params, z, noise=None, condition=None) -> x``.
        bijector: ``bijector(params, condition=None)``, a distrax bijector whose *forward* maps
            the inputs of the inner flow (for example logits) to latents.
        noise: ``noise(key, x) -> noise`` for ``encode``, which makes pixel values continuous; None
            for a flow without noise. Called without noise, ``encode`` uses the noise's mean.
        offset: added to the negative log-likelihood for each dimension, which converts it to the
            scale of integer pixel values (``log 256``).
        num_classes: C of a flow with a condition, for example one-hot labels ``[b, C]``; else None.
        refit: ``refit(params, x, noise=None, condition=None) -> params`` initializes again the
            parameters that depend on a batch (every ActNorm, in the order of the flow) and no
            others; None if there are none.

    Example:
        >>> double = distrax.Block(distrax.ScalarAffine(0.0, 2.0), 3)
        >>> flow = jc.flows.Flow(
        ...     init=lambda key, x, condition=None: (),
        ...     encode=lambda params, x, noise=None, condition=None: double.forward_and_log_det(x),
        ...     decode=lambda params, z, noise=None, condition=None: double.inverse(z),
        ...     bijector=lambda params, condition=None: double,
        ...     noise=None,
        ...     offset=0.0,
        ... )
        >>> z, log_det = flow.encode((), jnp.ones((1, 1, 1, 1)))
        >>> z.item(), round(log_det.item(), 2)  # log 2
        (2.0, 0.69)
    """

    init: Callable[..., PyTree]
    encode: Callable[..., tuple[Array, Array]]
    decode: Callable[..., Array]
    bijector: Callable[..., distrax.Bijector]
    noise: Callable[[Array, Array], Array] | None
    offset: float
    num_classes: int | None = None
    refit: Callable[..., PyTree] | None = None


def prior(
    shape: tuple[int, ...], temperature: Any = 1.0, dtype: Any = float
) -> distrax.Distribution:
    """Builds the distribution ``N(0, temperature^2 I)`` of one latent.

    Args:
        shape: of the latent, ``(height, width, channels)``.
        temperature: standard deviation of each dimension.
        dtype: of samples.
    """
    scale = jnp.full(shape, temperature, dtype)
    return distrax.Independent(distrax.Normal(jnp.zeros_like(scale), scale), len(shape))


def negative_log_likelihood(
    flow: Flow, params: PyTree, x: Array, noise: Array | None = None, condition: Any = None
) -> Array:
    """Computes ``-log N(z; 0, I) - log_det + D offset`` of each image.

    Args:
        flow: the flow.
        params: its parameters.
        x: images in [0, 1] of D dimensions, ``[b, ...]``.
        noise: as for ``flow.encode``.
        condition: as for ``flow.encode``.

    Returns:
        Nats of whole images, ``[b]``.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None, gray_levels=2)
        >>> x = jnp.zeros((1, 1, 2, 1))  # one image of two pixels
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> round(jc.flows.negative_log_likelihood(flow, params, x).item(), 2)  # log(2 pi)
        1.84
    """
    z, log_det = flow.encode(params, x, noise, condition)
    return -prior(z.shape[1:], dtype=z.dtype).log_prob(z) - log_det + z[0].size * flow.offset


def bits_per_dimension(
    flow: Flow, params: PyTree, x: Array, noise: Array | None = None, condition: Any = None
) -> Array:
    """Computes :func:`negative_log_likelihood` divided by ``D log 2``.

    Args:
        flow: the flow.
        params: its parameters.
        x: images in [0, 1] of D dimensions, ``[b, ...]``.
        noise: as for ``flow.encode``.
        condition: as for ``flow.encode``.

    Returns:
        Bits per dimension of each image, ``[b]``.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None, gray_levels=2)
        >>> x = jnp.zeros((1, 1, 2, 1))  # one image of two pixels
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> round(jc.flows.bits_per_dimension(flow, params, x).item(), 2)  # log2(2 pi) / 2
        1.33
    """
    nll = negative_log_likelihood(flow, params, x, noise, condition)
    return nll / (x[0].size * jnp.log(2.0))


def likelihood(
    flow: Flow,
    *,
    condition: Callable[[Any], Any] | None = None,
    jitter: Callable[[Array, Array], Array] | None = None,
) -> Callable:
    """Builds the maximum-likelihood loss of one client, with which any algorithm trains the flow.

    Args:
        flow: the flow.
        condition: ``condition(batch) -> [b, C]``; None for one-hot labels ``batch.y`` if the flow
            has a condition.
        jitter: ``jitter(x, key) -> x``, applied to images before they are encoded.

    Returns:
        ``loss(params, batch, key) -> (mean nats per image, {"bits_per_dimension": ...})``; the
        batch has a field ``x`` in [0, 1].

    Raises:
        TypeError: if ``flow`` is not a flow, or ``condition`` or ``jitter`` is given and not
            callable.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None, gray_levels=2)
        >>> x = jnp.zeros((1, 1, 2, 1))  # one image of two pixels
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> loss = jc.flows.likelihood(flow)
        >>> value, metrics = loss(params, jc.data.Dataset(x, None), jax.random.key(1))
        >>> round(float(value), 2), round(float(metrics["bits_per_dimension"]), 2)
        (1.84, 1.33)
    """
    check_flow(flow)
    for name, function in (("condition", condition), ("jitter", jitter)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function or None, got {type(function).__name__}")

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        jitter_key, noise_key = jax.random.split(key)
        x = batch.x if jitter is None else jitter(batch.x, jitter_key)
        # new noise in every step, so that the flow models a continuous density
        noise = None if flow.noise is None else flow.noise(noise_key, x)
        given = condition_of(flow, batch, condition)
        nll = negative_log_likelihood(flow, params, x, noise, given).mean()
        return nll, {"bits_per_dimension": nll / (x[0].size * jnp.log(2.0))}

    return loss


def condition_of(
    flow: Any, batch: Any, condition: Callable[[Any], Any] | None = None
) -> Array | None:
    """Returns the condition of a batch: ``condition(batch)``, one-hot labels, or None.

    Args:
        flow: a flow; labels are used if it has ``num_classes``.
        batch: a batch with a field ``y`` if labels are used.
        condition: a function of the batch, which takes precedence; or None.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=3)
        >>> batch = jc.data.Dataset(x=jnp.zeros((2, 1, 2, 1)), y=jnp.array([2, 0]))
        >>> jc.flows.condition_of(flow, batch).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if condition is not None:
        return condition(batch)
    classes = getattr(flow, "num_classes", None)
    return None if classes is None else one_hot(batch.y, classes)


def check_flow(flow: Any) -> None:
    """Raises TypeError unless ``flow`` has the functions of a flow, as a VAE also has."""
    if not all(callable(getattr(flow, name, None)) for name in ("encode", "decode")):
        raise TypeError(f"flow must be a Flow, got {checks.described(flow)}")


def check_condition(condition: Any, num_classes: int | None) -> None:
    """Raises ValueError if a condition is missing, of another width, or not expected."""
    shape = None if condition is None else jnp.shape(condition)
    wanted = None if num_classes is None else (num_classes,)
    if (shape if shape is None else shape[-1:]) != wanted:
        must = "be None for num_classes=None" if wanted is None else f"be [b, C={num_classes}]"
        got = "None" if shape is None else f"shape {list(shape)}"
        raise ValueError(f"condition must {must}, got {got}")


def sample(
    flow: Flow,
    params: PyTree,
    key: Array,
    shape: tuple[int, ...],
    *,
    temperature: Any = 1.0,
    condition: Any = None,
) -> Array:
    """Samples images by decoding latents ``z ~ N(0, temperature^2 I)``.

    Args:
        flow: the flow.
        params: its parameters.
        key: random key.
        shape: of the images, ``(b, height, width, channels)``.
        temperature: standard deviation of latents, at least 0; values of 0.5 to 0.9 give images
            with fewer artifacts.
        condition: ``[b, C]`` for a flow with a condition.

    Returns:
        Images, ``[b, ...]``.

    Raises:
        ValueError: if the temperature is negative.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None, gray_levels=2)
        >>> x = jnp.zeros((1, 1, 2, 1))  # one image of two pixels
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> x = jc.flows.sample(flow, params, jax.random.key(1), (2000, 1, 2, 1), temperature=0.5)
        >>> x.shape, round(float(x.std()), 1)
        ((2000, 1, 2, 1), 0.5)
    """
    checks.number("temperature", temperature, at_least=0)
    count, *latent = shape
    z = prior(tuple(latent), temperature).sample(seed=key, sample_shape=count)
    return flow.decode(params, z, None, condition)


def distribution(
    flow: Flow,
    params: PyTree,
    shape: tuple[int, ...],
    *,
    temperature: Any = 1.0,
    condition: Any = None,
) -> distrax.Transformed:
    """Builds the distribution of the inner flow's inputs (for example logits).

    Args:
        flow: the flow.
        params: its parameters.
        shape: of one latent, ``(height, width, channels)``.
        temperature: standard deviation of latents, above 0.
        condition: ``[C]``, the same for all inputs, for a flow with a condition.

    Returns:
        A distrax distribution, with ``log_prob`` and ``sample``.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None, gray_levels=2)
        >>> x = jnp.zeros((1, 1, 2, 1))  # one image of two pixels
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> inputs = jc.flows.distribution(flow, params, (1, 2, 1))
        >>> round(inputs.log_prob(x).item(), 2)  # -log(2 pi)
        -1.84
    """
    checks.number("temperature", temperature, above=0)
    # latents of the parameters' type: the prior of a float64 flow is in float64
    dtype = jnp.result_type(*jax.tree.leaves(params))
    base = prior(shape, temperature, dtype)
    # Transformed maps from the base to the inputs, and the flow's bijector from inputs to latents
    return distrax.Transformed(base, distrax.Inverse(flow.bijector(params, condition)))
