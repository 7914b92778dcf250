"""Perturbations in the latent space of a flow, as ``augment(batch, model, key)`` functions.

    x~ = F^{-1}( F(x) + delta )

:func:`jcollab.objectives.classification` takes such a function, and any algorithm the resulting
loss. The flow may be any object with the ``encode``, ``decode`` and ``noise`` of a
:class:`jcollab.flows.Flow`, for example a VAE. Norms are computed separately for each sample, over
all of its latent dimensions.
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
    """Builds Randomized-LA, which adds projected Gaussian noise ``delta ~ N(0, radius^2 I)``.

    Args:
        flow: a :class:`jcollab.flows.Flow` or a similar object.
        flow_params: its parameters; they receive no gradient.
        radius: standard deviation, and radius of the ball, at least 0. In high dimension D,
            ``"l2"`` projects delta onto the sphere, since ``|delta|`` is about ``radius sqrt(D)``.
        norm: of the ball; None for no projection.
        condition: ``condition(batch)``; None for one-hot labels if the flow has a condition.
        clamp: range of pixels ``(low, high)``, or None.
        clip: largest distance from x in the norm (L2 without a norm), or None.
        ratio: probability that a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``, see :class:`jcollab.objectives.Augment`.

    Raises:
        TypeError: if ``flow`` is not a flow.
        ValueError: if an argument is out of range.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None)
        >>> batch = jc.data.Dataset(jnp.full((3, 1, 2, 1), 0.5), jnp.array([0, 1, 0]))
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), batch.x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> augment = jc.flows.perturb.randomized(flow, params, radius=0.1, norm="linf")
        >>> perturbed = augment(batch, jc.core.Model(()), jax.random.key(1))
        >>> bool((abs(perturbed.x - batch.x) <= 0.1001).all())
        True

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
    """Builds a perturbation that moves latents away from the origin.

        delta = sign(z) |N(0, radius^2)|,   projected

    No ``|z_i|`` decreases.

    Args:
        flow: as for :func:`randomized`.
        flow_params: its parameters.
        radius: standard deviation, and radius of the ball, at least 0.
        norm: of the ball; None for no projection.
        condition: as for :func:`randomized`.
        clamp: range of pixels ``(low, high)``, or None.
        clip: largest distance from x, or None.
        ratio: probability that a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``.

    Raises:
        TypeError: as for :func:`randomized`.
        ValueError: as for :func:`randomized`.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None)
        >>> batch = jc.data.Dataset(jnp.full((3, 1, 2, 1), 0.5), jnp.array([0, 1, 0]))
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), batch.x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> augment = jc.flows.perturb.away(flow, params, radius=0.1)
        >>> perturbed = augment(batch, jc.core.Model(()), jax.random.key(1))
        >>> bool((perturbed.x >= batch.x).all())  # latents are positive
        True

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
    """Builds Adversarial-LA, which maximizes the classifier's cross-entropy in the latent space.

        delta = argmax_{||delta|| <= radius} CE( predict(F^{-1}(F(x) + delta)), label )

    The maximum is approximated by projected gradient ascent. Images are encoded once, with noise
    that is drawn once. The classifier is evaluated but not trained: its state (batch statistics)
    does not change, and no gradient of the attack reaches the training step.

    Args:
        predict: ``predict(params, x) -> logits [b, C]`` as in evaluation; for a model with state,
            ``jc.stateful(predict)`` of ``predict(params, model_state, x)``.
        flow: a :class:`jcollab.flows.Flow` or a similar object.
        flow_params: its parameters.
        radius: of the ball, at least 0 (20 for random and 1 for adversarial perturbations of
            CIFAR-10 in L2; 0.3 in L-infinity for MNIST).
        step_size: of a step, at least 0.
        num_steps: S, at least 0.
        norm: ``"l2"`` or ``"linf"``.
        start: ``"random"``, uniform in the cube of side 2 radius; ``"zero"``; or a function
            ``start(z, key) -> delta`` of the latents. The start is projected onto the ball.
        labels: ``"own"`` for the classifier's prediction at the clean image, which avoids label
            leaking; ``"true"`` for the label.
        condition: ``condition(batch)``; None for one-hot labels if the flow has a condition.
        clamp: range of pixels ``(low, high)``, or None.
        clip: largest distance from x in the norm, or None.
        ratio: probability that a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if ``predict`` is not callable or ``flow`` is not a flow.

    Example:
        >>> flow = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None)
        >>> batch = jc.data.Dataset(jnp.array([[[[0.7], [0.3]]]]), jnp.array([0]))
        >>> shapes = jax.eval_shape(flow.init, jax.random.key(0), batch.x)
        >>> params = jax.tree.map(jnp.zeros_like, shapes)  # this flow only permutes pixels
        >>> predict = lambda params, x: x.reshape(len(x), 2)  # the logits are the two pixels
        >>> attack = jc.flows.perturb.adversarial(
        ...     predict, flow, params, radius=0.2, step_size=0.2, norm="linf", start="zero"
        ... )
        >>> perturbed = attack(batch, jc.core.Model(()), jax.random.key(1))
        >>> [round(pixel, 1) for pixel in perturbed.x.ravel().tolist()]
        [0.5, 0.5]

    Source: Yuksel, Stich, Jaggi and Chavdarova 2021, arXiv 2108.07958.
    """
    full_predict = lift_predict(predict)
    check_flow(flow)
    _check_attack(radius, step_size, num_steps, norm, start, labels)
    finish = _finishing(norm, clamp, clip, ratio)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        noise_key, start_key, last_key = jax.random.split(key, 3)
        z, decode = _opened(flow, flow_params, batch, noise_key, condition)
        # a constant: the attacked label does not change while the image moves
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
    """Builds the PGD attack on pixels, which is adversarial training, a baseline.

    Args:
        predict: as for :func:`adversarial`.
        radius: of the ball around the image, at least 0.
        step_size: of a step, at least 0.
        num_steps: S, at least 0.
        norm: ``"l2"`` or ``"linf"``.
        start: as for :func:`adversarial`, with images instead of latents.
        labels: ``"own"`` or ``"true"``, as for :func:`adversarial`.
        clamp: range of pixels ``(low, high)``, or None.
        clip: largest distance from x in the norm, or None.
        ratio: probability that a sample is perturbed.

    Returns:
        ``augment(batch, model, key) -> batch``.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if ``predict`` is not callable.

    Example:
        >>> batch = jc.data.Dataset(jnp.array([[0.7, 0.3]]), jnp.array([0]))
        >>> predict = lambda params, x: x  # the logits are the two pixels
        >>> attack = jc.flows.perturb.pgd(predict, radius=0.2, step_size=0.2, start="zero")
        >>> perturbed = attack(batch, jc.core.Model(()), jax.random.key(1))
        >>> [round(pixel, 1) for pixel in perturbed.x.ravel().tolist()]
        [0.5, 0.5]

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
    """Builds ``finish(batch, x, key) -> batch``, which clips images and selects samples.

    Raises:
        ValueError: if an argument is out of range.
    """
    if clamp is not None and not (len(clamp) == 2 and clamp[0] < clamp[1]):
        raise ValueError(f"clamp must be (low, high) with low < high, or None, got {clamp}")
    if clip is not None:
        checks.number("clip", clip, at_least=0)
    checks.number("ratio", ratio, at_least=0, at_most=1)

    def finish(batch: Any, x: Array, key: Array) -> Any:
        if clip is not None:
            x = batch.x + project(x - batch.x, clip, norm or "l2")
        # the range is convex and contains the image, so clamping does not increase the distance
        if clamp is not None:
            x = jnp.clip(x, *clamp)
        # a ratio may be traced, and then it is never known to be 1
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
    """Builds the augmentation of a perturbation that does not depend on the classifier."""
    check_flow(flow)

    def augment(batch: Any, model: Model, key: Array) -> Any:
        noise_key, delta_key, last_key = jax.random.split(key, 3)
        z, decode = _opened(flow, flow_params, batch, noise_key, condition)
        return finish(batch, decode(z + delta_of(z, delta_key)), last_key)

    return augment


def _opened(
    flow: Any, flow_params: PyTree, batch: Any, key: Array, condition: Callable | None
) -> tuple[Array, Callable[[Array], Array]]:
    """Encodes a batch; returns latents and a decoder with the same noise and condition."""
    # the flow is not trained here, whichever loss the augmented batch goes into
    fixed = jax.lax.stop_gradient(flow_params)
    given = condition_of(flow, batch, condition)
    noise = None if flow.noise is None else flow.noise(key, batch.x)
    # with other noise, decoding would not return batch.x even for delta = 0
    z = flow.encode(fixed, batch.x, noise, given)[0]
    return z, lambda z: flow.decode(fixed, z, noise, given)


def _begin(start: Start, key: Array, z: Array, radius: Any, norm: Norm) -> Array:
    """Returns the initial delta of the ascent, with the shape and type of z."""
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
    # a sum over samples, so that a sample's gradient does not shrink with the batch size
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
