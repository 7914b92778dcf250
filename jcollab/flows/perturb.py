"""Perturbations in the latent space of a flow, as ``augment(batch, model, key)`` functions.

    x~ = F^{-1}( F(x) + delta )

They go into :func:`jcollab.objectives.classification`, and with it into any algorithm. The flow may
be anything with ``encode``, ``decode`` and ``noise`` of :class:`jcollab.flows.Flow`, for example a
VAE. Distances are those of each sample on its own, over all of its latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import Model, Predict, cross_entropy, lift_predict
from jcollab.flows.ascent import Norm, ascend, check_norm, project, random_start
from jcollab.flows.flow import check_flow, condition_of
from jcollab.objectives import Augment

PyTree = Any
Array = jax.Array
Labels = Literal["own", "true"]
Start = Literal["random", "zero"] | Callable[[Array, Array], Array]
Range = tuple[float, float]


def randomized(
    flow: Any,
    flow_params: PyTree,
    *,
    radius: Any,
    norm: Norm | None = None,
    condition: Callable[[Any], Any] | None = None,
    clamp: Range | None = None,
    clip: float | None = None,
    ratio: Any = 1.0,
) -> Augment:
    """Randomized-LA: ``delta ~ N(0, radius^2 I)``, then projected.

    Args:
        flow: a :class:`jcollab.flows.Flow` or alike.
        flow_params: its parameters; no gradient flows into them.
        radius: standard deviation, and radius of the ball, at least 0. In high dimension, ``"l2"``
            puts delta onto the sphere: its length before is about ``radius sqrt(D)``.
        norm: of the ball; None for none.
        condition: ``condition(batch)``; None for one-hot labels where the flow has a condition.
        clamp: range of pixels, or None.
        clip: largest distance from x in the norm (L2 without one), or None.
        ratio: probability with which a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``, see :class:`jcollab.objectives.Augment`.

    Raises:
        ValueError: if a number or a name is out of its range.

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """

    def delta_of(z: Array, key: Array) -> Array:
        noise = jax.random.normal(key, z.shape, z.dtype)
        return project(radius * noise, radius, norm)

    check_norm(norm, optional=True)
    checks.number("radius", radius, at_least=0)
    finish = _finishing(norm, clamp, clip, ratio)
    return _of_latents(flow, flow_params, delta_of, condition, finish)


def away(
    flow: Any,
    flow_params: PyTree,
    *,
    radius: Any,
    norm: Norm | None = None,
    condition: Callable[[Any], Any] | None = None,
    clamp: Range | None = None,
    clip: float | None = None,
    ratio: Any = 1.0,
) -> Augment:
    """Away from the origin: ``delta = sign(z) |N(0, radius^2)|``, so that no ``|z_i|`` shrinks.

    Args:
        flow: as for :func:`randomized`, and so are all others.
        flow_params: its parameters.
        radius: standard deviation, at least 0.
        norm: of the ball; None for none.
        condition: as for :func:`randomized`, and so are the others.
        clamp: range of pixels, or None.
        clip: largest distance from x, or None.
        ratio: probability with which a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``.

    Raises:
        ValueError: as for :func:`randomized`.

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """

    def delta_of(z: Array, key: Array) -> Array:
        noise = jnp.abs(jax.random.normal(key, z.shape, z.dtype))
        return project(radius * jnp.sign(z) * noise, radius, norm)

    check_norm(norm, optional=True)
    checks.number("radius", radius, at_least=0)
    finish = _finishing(norm, clamp, clip, ratio)
    return _of_latents(flow, flow_params, delta_of, condition, finish)


def adversarial(
    predict: Predict,
    flow: Any,
    flow_params: PyTree,
    *,
    radius: Any,
    step_size: Any,
    num_steps: int = 3,
    norm: Norm = "l2",
    start: Start = "random",
    labels: Labels = "own",
    condition: Callable[[Any], Any] | None = None,
    clamp: Range | None = (0.0, 1.0),
    clip: float | None = None,
    ratio: Any = 1.0,
) -> Augment:
    """Adversarial-LA: ascent on the classifier's cross-entropy in the latent space.

        delta = argmax_{||delta|| <= radius} CE( predict(F^{-1}(F(x) + delta)), label )

    Images are encoded once, with noise that is drawn once. The classifier is only evaluated: what
    it carries along (batch statistics) does not change, and neither gradients nor statistics of the
    attack reach the training step.

    Args:
        predict: ``predict(params, x) -> logits [b, C]`` as in evaluation; of a model with state,
            ``jc.stateful(predict)`` of ``predict(params, model_state, x)``.
        flow: a :class:`jcollab.flows.Flow` or alike.
        flow_params: its parameters.
        radius: of the ball, at least 0 (20 for random and 1 for adversarial perturbations of
            CIFAR-10 in L2; .3 in L-infinity for MNIST).
        step_size: of a step, at least 0.
        num_steps: S, at least 0.
        norm: ``"l2"`` or ``"linf"``.
        start: ``"random"``, uniform in the cube of side 2 radius, ``"zero"``, or a function
            ``start(z, key) -> delta`` of the latents; all are projected onto the ball.
        labels: ``"own"`` attacks the classifier's prediction at the clean image, so that no label
            leaks; ``"true"`` the label.
        condition: ``condition(batch)``; None for one-hot labels where the flow has a condition.
        clamp: range of pixels, or None.
        clip: largest distance from x in the norm, or None.
        ratio: probability with which a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``.

    Raises:
        ValueError: if a number or a name is out of its range.
        TypeError: if ``predict`` is not callable or ``flow`` no flow.

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """
    full_predict = lift_predict(predict)
    check_flow(flow)
    _check_attack(radius, step_size, num_steps, norm, start, labels)
    finish = _finishing(norm, clamp, clip, ratio)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        noise_key, start_key, last_key = jax.random.split(key, 3)
        z, decode = _opened(flow, flow_params, batch, noise_key, condition)
        target = _target(full_predict, model, batch, labels)
        delta = ascend(
            lambda delta: _loss(full_predict(*model, decode(z + delta)), target),
            _begin(start, start_key, z, radius, norm),
            radius=radius,
            step_size=step_size,
            num_steps=num_steps,
            norm=norm,
        )
        return finish(batch, decode(z + delta), last_key)

    return augment


def pgd(
    predict: Predict,
    *,
    radius: Any,
    step_size: Any,
    num_steps: int = 3,
    norm: Norm = "linf",
    start: Start = "random",
    labels: Labels = "own",
    clamp: Range | None = (0.0, 1.0),
    clip: float | None = None,
    ratio: Any = 1.0,
) -> Augment:
    """The same attack on pixels: adversarial training, a baseline.

    Args:
        predict: as for :func:`adversarial`, and so are all others.
        radius: of the ball around the image.
        step_size: of a step.
        num_steps: S.
        norm: ``"l2"`` or ``"linf"``.
        start: as for :func:`adversarial`, of the images in place of latents.
        labels: ``"own"`` or ``"true"``.
        clamp: range of pixels, or None.
        clip: largest distance from x in the norm, or None.
        ratio: probability with which a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``.

    Raises:
        ValueError: if a number or a name is out of its range.
        TypeError: if ``predict`` is not callable.

    Source: Madry et al. 2018, arXiv 1706.06083.
    """
    full_predict = lift_predict(predict)
    _check_attack(radius, step_size, num_steps, norm, start, labels)
    finish = _finishing(norm, clamp, clip, ratio)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        checks.floats("x", batch.x)
        start_key, last_key = jax.random.split(key)
        target = _target(full_predict, model, batch, labels)
        delta = ascend(
            lambda delta: _loss(full_predict(*model, batch.x + delta), target),
            _begin(start, start_key, batch.x, radius, norm),
            radius=radius,
            step_size=step_size,
            num_steps=num_steps,
            norm=norm,
        )
        return finish(batch, batch.x + delta, last_key)

    return augment


def _finishing(
    norm: Norm | None, clamp: Range | None, clip: float | None, ratio: Any
) -> Callable[[Any, Array, Array], Any]:
    """``finish(batch, x, key) -> batch``: perturbed images near the original ones, in range.

    Raises:
        ValueError: if a number is out of its range.
    """
    if clamp is not None and not (len(clamp) == 2 and clamp[0] < clamp[1]):
        raise ValueError(f"clamp must be (low, high) with low < high, or None, got {clamp}")
    if clip is not None:
        checks.number("clip", clip, at_least=0)
    checks.number("ratio", ratio, at_least=0, at_most=1)

    def finish(batch: Any, x: Array, key: Array) -> Any:
        if clip is not None:
            x = batch.x + project(x - batch.x, clip, norm or "l2")
        if clamp is not None:
            x = jnp.clip(x, *clamp)
        if not (isinstance(ratio, (int, float)) and ratio == 1):
            chosen = jax.random.uniform(key, (len(x),) + (1,) * (x.ndim - 1), jnp.float32) < ratio
            x = jnp.where(chosen, x, batch.x)
        return batch._replace(x=x)

    return finish


def _of_latents(
    flow: Any,
    flow_params: PyTree,
    delta_of: Callable[[Array, Array], Array],
    condition: Callable | None,
    finish: Callable[[Any, Array, Array], Any],
) -> Augment:
    """The augmentation of a perturbation that does not look at the classifier."""
    check_flow(flow)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        noise_key, delta_key, last_key = jax.random.split(key, 3)
        z, decode = _opened(flow, flow_params, batch, noise_key, condition)
        return finish(batch, decode(z + delta_of(z, delta_key)), last_key)

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


def _begin(start: Start, key: Array, z: Array, radius: Any, norm: Norm) -> Array:
    """Where the ascent begins, in the form of z."""
    if callable(start):
        return jnp.broadcast_to(start(z, key), z.shape).astype(z.dtype)
    if start == "random":
        return random_start(key, z.shape, radius, norm, z.dtype)
    return jnp.zeros_like(z)


def _target(full_predict: Callable, model: Model, batch: Any, labels: Labels) -> Array:
    if labels == "true":
        return batch.y
    return jnp.argmax(full_predict(*model, batch.x), -1)


def _loss(logits: Array, target: Array) -> Array:
    """A sum: as a mean, gradients of large batches would only be smaller."""
    return cross_entropy(logits, target).sum()


def _check_attack(
    radius: Any, step_size: Any, num_steps: int, norm: Any, start: Any, labels: Any
) -> None:
    check_norm(norm)
    checks.number("radius", radius, at_least=0)
    checks.number("step_size", step_size, at_least=0)
    checks.count("num_steps", num_steps, at_least=0)
    if not callable(start):
        checks.one_of("start", start, ("random", "zero"))
    checks.one_of("labels", labels, get_args(Labels))
