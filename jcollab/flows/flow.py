"""What a flow is to the rest of the library, its likelihood, and its samples."""

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
            images in [0, 1], everything before the flow included.
        decode: ``decode(params, z, noise=None, condition=None) -> x``.
        bijector: ``bijector(params, condition=None)``, a distrax bijector whose *forward* leads
            from the inputs of the inner flow (for example logits) to latents.
        noise: ``noise(key, x) -> noise`` that ``encode`` takes to make values continuous, or None
            for a flow that takes none. Without noise, ``encode`` uses its mean.
        offset: what each dimension adds to the negative log-likelihood, so that it is that of
            integer pixel values (``log 256``).
        num_classes: C of a flow with a condition, for example one-hot labels ``[b, C]``; else None.
        refit: ``refit(params, x, noise=None, condition=None) -> params`` sets again what depends on
            a batch (every ActNorm, in the order of the flow) and nothing else; None where nothing
            does.
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
    """``N(0, temperature^2 I)`` of one latent.

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
    """``-log N(z; 0, I) - log_det + D offset`` of each image, in nats of the whole image, ``[b]``.

    Args:
        flow: the flow.
        params: its parameters.
        x: images in [0, 1], ``[b, ...]``.
        noise: as for ``flow.encode``.
        condition: as for ``flow.encode``.
    """
    z, log_det = flow.encode(params, x, noise, condition)
    return -prior(z.shape[1:], dtype=z.dtype).log_prob(z) - log_det + z[0].size * flow.offset


def bits_per_dimension(
    flow: Flow, params: PyTree, x: Array, noise: Array | None = None, condition: Any = None
) -> Array:
    """:func:`negative_log_likelihood` over ``D log 2``, for each image, ``[b]``."""
    nll = negative_log_likelihood(flow, params, x, noise, condition)
    return nll / (x[0].size * jnp.log(2.0))


def likelihood(
    flow: Flow,
    *,
    condition: Callable[[Any], Any] | None = None,
    jitter: Callable[[Array, Array], Array] | None = None,
) -> Callable:
    """Maximum likelihood as a loss of one client, so that any algorithm can train the flow.

    Args:
        flow: the flow.
        condition: ``condition(batch) -> [b, C]``; None for one-hot labels ``batch.y``, where the
            flow has a condition.
        jitter: ``jitter(x, key) -> x``, what images go through before they are encoded.

    Returns:
        ``loss(params, batch, key) -> (mean nats per image, {"bits_per_dimension": ...})``; the
        batch has a field ``x`` in [0, 1].

    Raises:
        TypeError: if ``flow`` is none, or ``condition`` or ``jitter`` is given and not callable.
    """
    check_flow(flow)
    for name, function in (("condition", condition), ("jitter", jitter)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function or None, got {type(function).__name__}")

    def loss(params: PyTree, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        jitter_key, noise_key = jax.random.split(key)
        x = batch.x if jitter is None else jitter(batch.x, jitter_key)
        noise = None if flow.noise is None else flow.noise(noise_key, x)
        given = condition_of(flow, batch, condition)
        nll = negative_log_likelihood(flow, params, x, noise, given).mean()
        return nll, {"bits_per_dimension": nll / (x[0].size * jnp.log(2.0))}

    return loss


def condition_of(
    flow: Any, batch: Any, condition: Callable[[Any], Any] | None = None
) -> Array | None:
    """``condition(batch)``; without it one-hot labels for a flow with a condition, else None."""
    if condition is not None:
        return condition(batch)
    classes = getattr(flow, "num_classes", None)
    return None if classes is None else one_hot(batch.y, classes)


def check_flow(flow: Any) -> None:
    """TypeError unless it is a flow, or has its functions as :func:`jcollab.models.vae` does."""
    if not all(callable(getattr(flow, name, None)) for name in ("encode", "decode")):
        raise TypeError(f"flow must be a Flow, got {checks.described(flow)}")


def check_condition(condition: Any, num_classes: int | None) -> None:
    """ValueError for a condition where a flow takes none, a missing one, or one of other width."""
    if (condition is None) != (num_classes is None):
        got = "none" if condition is None else f"shape {list(jnp.shape(condition))}"
        raise ValueError(f"condition must go with num_classes={num_classes}, got {got}")
    if condition is not None and jnp.shape(condition)[-1:] != (num_classes,):
        raise ValueError(
            f"condition must be [b, C={num_classes}], got shape {list(jnp.shape(condition))}"
        )


def sample(
    flow: Flow,
    params: PyTree,
    key: Array,
    shape: tuple[int, ...],
    *,
    temperature: Any = 1.0,
    condition: Any = None,
) -> Array:
    """Images of latents ``z ~ N(0, temperature^2 I)``.

    Args:
        flow: the flow.
        params: its parameters.
        key: random key.
        shape: of the images, ``(b, height, width, channels)``.
        temperature: standard deviation of latents, at least 0; samples at .5 to .9 look cleaner.
        condition: ``[b, C]`` for a flow with a condition.

    Returns:
        Images, ``[b, ...]``.

    Raises:
        ValueError: if the temperature is negative.
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
    """The distribution of the inner flow's inputs (for example logits): ``log_prob``, ``sample``.

    distrax transforms from the base outwards, so the flow's bijector goes in inverted.

    Args:
        flow: the flow.
        params: its parameters.
        shape: of one latent, ``(height, width, channels)``.
        temperature: standard deviation of latents, above 0.
        condition: ``[C]``, the same for all, for a flow with a condition.

    Raises:
        ValueError: if the temperature is not positive.
    """
    checks.number("temperature", temperature, above=0)
    dtype = jnp.result_type(*jax.tree.leaves(params))
    base = prior(shape, temperature, dtype)
    return distrax.Transformed(base, distrax.Inverse(flow.bijector(params, condition)))
