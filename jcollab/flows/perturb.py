"""Perturbations in the latent space of a flow, as ``augment(batch, params, key)`` hooks.

    x~ = F^{-1}( F(x) + delta )

Hooks go into :func:`jcollab.objectives.classification`, and with it into any algorithm. The flow
may be anything with ``encode``, ``decode`` and ``noise`` of :class:`jcollab.flows.Flow`, a VAE say.
Distances are those of each sample on its own, over all of its latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from jcollab.core import lift_predict
from jcollab.flows.ascent import Norm, ascend, check_norm, project, random_start
from jcollab.flows.flow import condition_of

PyTree = Any
Array = jax.Array
Labels = Literal["own", "true"]
Range = tuple[float, float]


def randomized(
    flow: Any,
    flow_params: PyTree,
    *,
    radius: Any,
    norm: Norm | None = None,
    **options: Any,
) -> Callable:
    """Randomized-LA: ``delta ~ N(0, radius^2 I)``, then projected.

    Args:
        flow: a :class:`jcollab.flows.Flow` or alike.
        flow_params: its parameters; no gradient flows into them.
        radius: standard deviation, and radius of the ball, at least 0. In high dimension, ``"l2"``
            puts delta onto the sphere: its length before is about ``radius sqrt(D)``.
        norm: of the ball; None for none.
        **options: ``clamp=(low, high)`` of pixels, None for none; ``clip``, the largest distance
            from x in the norm (L2 without one); ``ratio``, the probability with which a sample is
            perturbed at all; see :func:`finish`. ``condition(batch)``, for one-hot labels.

    Returns:
        ``augment(batch, params, key) -> batch``.

    Raises:
        ValueError: if radius < 0 or an option is out of its range.

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """

    def delta_of(z: Array, key: Array) -> Array:
        noise = jax.random.normal(key, z.shape, z.dtype)
        return project(radius * noise, radius, norm)

    check_norm(norm, optional=True)
    return _of_latents(flow, flow_params, delta_of, radius, norm, options)


def away(
    flow: Any,
    flow_params: PyTree,
    *,
    radius: Any,
    norm: Norm | None = None,
    **options: Any,
) -> Callable:
    """Away from the origin: ``delta = sign(z) |N(0, radius^2)|``, so that no ``|z_i|`` shrinks.

    Args:
        flow: as for :func:`randomized`, and so are all others.
        flow_params: its parameters.
        radius: standard deviation, at least 0.
        norm: of the ball; None for none.
        **options: as for :func:`randomized`.

    Returns:
        ``augment(batch, params, key) -> batch``.

    Raises:
        ValueError: as for :func:`randomized`.

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """

    def delta_of(z: Array, key: Array) -> Array:
        noise = jnp.abs(jax.random.normal(key, z.shape, z.dtype))
        return project(radius * jnp.sign(z) * noise, radius, norm)

    check_norm(norm, optional=True)
    return _of_latents(flow, flow_params, delta_of, radius, norm, options)


def adversarial(
    predict: Callable,
    flow: Any,
    flow_params: PyTree,
    *,
    radius: Any,
    step_size: Any,
    num_steps: int = 3,
    norm: Norm = "l2",
    start: Literal["random", "zero"] = "random",
    labels: Labels = "own",
    condition: Callable[[Any], Any] | None = None,
    clamp: Range | None = (0.0, 1.0),
    clip: float | None = None,
    ratio: Any = 1.0,
) -> Callable:
    """Adversarial-LA: ascent on the classifier's cross-entropy in the latent space.

        delta = argmax_{||delta|| <= radius} CE( predict(F^{-1}(F(x) + delta)), label )

    Images are encoded once, with noise that is drawn once. The classifier is only evaluated: what
    it carries along (batch statistics) does not change, and neither gradients nor statistics of the
    attack reach the training step.

    Args:
        predict: ``predict(params, x) -> logits [b, C]`` or ``predict(params, model_state, x)``, as
            in evaluation.
        flow: a :class:`jcollab.flows.Flow` or alike.
        flow_params: its parameters.
        radius: of the ball, at least 0 (20 for random and 1 for adversarial perturbations of
            CIFAR-10 in L2; .3 in L-infinity for MNIST).
        step_size: of a step, at least 0.
        num_steps: S, at least 0.
        norm: ``"l2"`` or ``"linf"``.
        start: ``"random"``, uniform and then projected, or ``"zero"``.
        labels: ``"own"`` attacks the classifier's prediction at the clean image, so that no label
            leaks; ``"true"`` the label.
        condition: ``condition(batch)``; None for one-hot labels where the flow has a condition.
        clamp: range of pixels, or None.
        clip: largest distance from x in the norm, or None.
        ratio: probability with which a sample is perturbed.

    Returns:
        ``augment(batch, params, key, *, model_state=()) -> batch``.

    Raises:
        ValueError: if a number or a name is out of its range.
        TypeError: if ``predict`` has neither form.

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """
    full_predict = lift_predict(predict)
    _check_attack(radius, step_size, num_steps, norm, start, labels)
    _check_finish(clamp, clip, ratio)

    def augment(batch: Any, params: PyTree, key: Array, *, model_state: PyTree = ()) -> Any:
        noise_key, start_key, last_key = jax.random.split(key, 3)
        z, decode = _opened(flow, flow_params, batch, noise_key, condition)
        target = _target(full_predict, params, model_state, batch, labels)
        delta = jnp.zeros_like(z)
        if start == "random":
            delta = random_start(start_key, z.shape, radius, norm, z.dtype)
        delta = ascend(
            lambda delta: _loss(full_predict(params, model_state, decode(z + delta)), target),
            delta,
            radius=radius,
            step_size=step_size,
            num_steps=num_steps,
            norm=norm,
        )
        return finish(batch, decode(z + delta), last_key, norm, clamp, clip, ratio)

    return augment


def pgd(
    predict: Callable,
    *,
    radius: Any,
    step_size: Any,
    num_steps: int = 3,
    norm: Norm = "linf",
    start: Literal["random", "zero"] = "random",
    labels: Labels = "own",
    clamp: Range | None = (0.0, 1.0),
    clip: float | None = None,
    ratio: Any = 1.0,
) -> Callable:
    """The same attack on pixels: adversarial training, a baseline.

    Args:
        predict: as for :func:`adversarial`, and so are all others.
        radius: of the ball around the image.
        step_size: of a step.
        num_steps: S.
        norm: ``"l2"`` or ``"linf"``.
        start: ``"random"`` or ``"zero"``.
        labels: ``"own"`` or ``"true"``.
        clamp: range of pixels, or None.
        clip: largest distance from x in the norm, or None.
        ratio: probability with which a sample is perturbed.

    Returns:
        ``augment(batch, params, key, *, model_state=()) -> batch``.

    Raises:
        ValueError: if a number or a name is out of its range.
        TypeError: if ``predict`` has neither form.

    Source: Madry et al. 2018, arXiv 1706.06083.
    """
    full_predict = lift_predict(predict)
    _check_attack(radius, step_size, num_steps, norm, start, labels)
    _check_finish(clamp, clip, ratio)

    def augment(batch: Any, params: PyTree, key: Array, *, model_state: PyTree = ()) -> Any:
        start_key, last_key = jax.random.split(key)
        target = _target(full_predict, params, model_state, batch, labels)
        delta = jnp.zeros_like(batch.x)
        if start == "random":
            delta = random_start(start_key, batch.x.shape, radius, norm, batch.x.dtype)
        delta = ascend(
            lambda delta: _loss(full_predict(params, model_state, batch.x + delta), target),
            delta,
            radius=radius,
            step_size=step_size,
            num_steps=num_steps,
            norm=norm,
        )
        return finish(batch, batch.x + delta, last_key, norm, clamp, clip, ratio)

    return augment


def finish(
    batch: Any,
    x: Array,
    key: Array,
    norm: Norm | None,
    clamp: Range | None,
    clip: float | None,
    ratio: Any,
) -> Any:
    """The batch with perturbed images x: near the original ones, in range, and only some of them.

    Args:
        batch: with a field ``x``.
        x: perturbed images, ``[b, ...]``.
        key: of the choice.
        norm: of ``clip``; None for L2.
        clamp: range of pixels, or None.
        clip: largest distance from ``batch.x``, or None.
        ratio: probability of a perturbed image in place of the original one.
    """
    if clip is not None:
        x = batch.x + project(x - batch.x, clip, norm or "l2")
    if clamp is not None:
        x = jnp.clip(x, *clamp)
    if not (isinstance(ratio, (int, float)) and ratio == 1):
        chosen = jax.random.uniform(key, (len(x),) + (1,) * (x.ndim - 1)) < ratio
        x = jnp.where(chosen, x, batch.x)
    return batch._replace(x=x)


def _of_latents(
    flow: Any,
    flow_params: PyTree,
    delta_of: Callable[[Array, Array], Array],
    radius: Any,
    norm: Norm | None,
    options: dict[str, Any],
) -> Callable:
    """The hook of a perturbation that does not look at the classifier."""
    settings = {"clamp": None, "clip": None, "ratio": 1.0, "condition": None} | options
    if unknown := set(options) - {"clamp", "clip", "ratio", "condition"}:
        raise TypeError(f"options must be clamp, clip, ratio, condition, got {sorted(unknown)}")
    _check_least("radius", radius)
    condition = settings.pop("condition")
    _check_finish(**settings)

    def augment(batch: Any, params: PyTree, key: Array) -> Any:
        noise_key, delta_key, last_key = jax.random.split(key, 3)
        z, decode = _opened(flow, flow_params, batch, noise_key, condition)
        x = decode(z + delta_of(z, delta_key))
        return finish(batch, x, last_key, norm, **settings)

    return augment


def _opened(
    flow: Any, flow_params: PyTree, batch: Any, key: Array, condition: Callable | None
) -> tuple[Array, Callable[[Array], Array]]:
    """Latents of a batch, and how they are decoded: with the same noise and condition."""
    fixed = jax.lax.stop_gradient(flow_params)
    given = condition_of(flow, batch, condition)
    noise = None if flow.noise is None else flow.noise(key, batch.x)
    z = flow.encode(fixed, batch.x, noise, given)[0]
    return z, lambda z: flow.decode(fixed, z, noise, given)


def _target(
    full_predict: Callable, params: PyTree, model_state: PyTree, batch: Any, labels: Labels
) -> Array:
    if labels == "true":
        return batch.y
    return jnp.argmax(full_predict(params, model_state, batch.x), -1)


def _loss(logits: Array, target: Array) -> Array:
    """A sum: as a mean, gradients of large batches would only be smaller."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return optax.softmax_cross_entropy_with_integer_labels(logits, target).sum()
    return optax.softmax_cross_entropy(logits, target).sum()


def _check_attack(
    radius: Any, step_size: Any, num_steps: int, norm: Any, start: Any, labels: Any
) -> None:
    check_norm(norm)
    for name, value in (("radius", radius), ("step_size", step_size), ("num_steps", num_steps)):
        _check_least(name, value)
    if start not in ("random", "zero"):
        raise ValueError(f"start must be 'random' or 'zero', got {start!r}")
    if labels not in get_args(Labels):
        raise ValueError(f"labels must be one of {get_args(Labels)}, got {labels!r}")


def _check_finish(clamp: Any, clip: Any, ratio: Any) -> None:
    if clamp is not None and not (len(clamp) == 2 and clamp[0] < clamp[1]):
        raise ValueError(f"clamp must be (low, high) with low < high, or None, got {clamp}")
    if clip is not None:
        _check_least("clip", clip)
    if not isinstance(ratio, jax.Array) and not 0 <= ratio <= 1:
        raise ValueError(f"ratio must be in [0, 1], got {ratio}")


def _check_least(name: str, value: Any) -> None:
    if not isinstance(value, jax.Array) and not value >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
