"""Agreement of ensemble members on unlabeled points, and points on which members disagree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jcollab import checks

Array = jax.Array
Anchor = Literal["frozen", "trained"]
EPSILON = 1e-7
ANCHORS = ("frozen", "trained")


def binary_agreement(p: Any, q: Any, epsilon: float = EPSILON) -> Array:
    """How much two members agree, from probabilities of one of two classes.

        A(p, q) = -log( p (1 - q) + (1 - p) q + epsilon )

    It is symmetric, ``-log(1 + epsilon)`` for opposite and ``-log(epsilon)`` for equal one-hot
    predictions, and log 2 wherever one of the two is 1/2.

    Args:
        p: probabilities in [0, 1], ``[...]``.
        q: probabilities in [0, 1], ``[...]``.
        epsilon: at least 0; keeps the logarithm finite.

    Returns:
        ``[...]``.

    Raises:
        ValueError: if epsilon < 0, or a probability is outside of [0, 1].

    Source: Pagliardini et al. 2022, arXiv 2202.04414.
    """
    checks.number("epsilon", epsilon, at_least=0)
    for name, value in (("p", p), ("q", q)):
        checks.number(name, value, at_least=0, at_most=1, arrays=True)
    p, q = jnp.asarray(p), jnp.asarray(q)
    return -jnp.log(p * (1 - q) + (1 - p) * q + epsilon)


def pair_agreement(
    logits: Array, frozen: Array, *, anchor: Anchor = "frozen", epsilon: float | None = EPSILON
) -> Array:
    """How much a member agrees with a frozen one on each point.

    With one logit, both give the probability of label 1, and this is :func:`binary_agreement`.
    With C logits, both are made binary around one class k,

        A = -log( q (1 - r) + r (1 - q) + epsilon ),    q = softmax(frozen)_k, r = softmax(logits)_k

    Args:
        logits: of the member that is trained, ``[..., C]``, or ``[..., 1]`` for two classes.
        frozen: of the other one, of the same shape up to broadcasting.
        anchor: whose most probable class is k (the first of several): that of the ``"frozen"``
            member, as in the released code by default, or of the ``"trained"`` one, as in the
            paper's algorithm; not used with one logit. Where q < 1/2, which a frozen top class may
            have for C > 2, descending on A raises r: only confident members are disagreed with.
        epsilon: as in the released code, whose gradient vanishes where both are certain and agree;
            None for no epsilon and logarithms of sums of exponentials, which grows linearly there.

    Returns:
        ``[...]``.

    Raises:
        ValueError: if anchor is another one, epsilon < 0, or the last axes differ.

    Source: Pagliardini et al. 2022, arXiv 2202.04414, equation 4 and algorithms 1 and 2.
    """
    check_form(anchor, epsilon)
    logits, frozen = jnp.asarray(logits), jnp.asarray(frozen)
    if logits.ndim < 1 or frozen.ndim < 1 or logits.shape[-1] != frozen.shape[-1]:
        raise ValueError(
            "logits and frozen must have one last axis, of classes, got "
            f"{list(logits.shape)} and {list(frozen.shape)}"
        )
    logits, frozen = jnp.broadcast_arrays(logits, frozen)
    if logits.shape[-1] == 1:
        q, r = (_binary(z[..., 0], epsilon is None) for z in (frozen, logits))
    else:
        chosen = jnp.argmax(frozen if anchor == "frozen" else logits, -1, keepdims=True)
        q, r = (_one_of_many(z, chosen, epsilon is None) for z in (frozen, logits))
    if epsilon is None:
        return -jnp.logaddexp(q[0] + r[1], q[1] + r[0])
    return binary_agreement(r, q, epsilon)


def agreement(
    logits: Array,
    frozen: Array,
    *,
    weights: Array | None = None,
    anchor: Anchor = "frozen",
    epsilon: float | None = EPSILON,
) -> Array:
    """Mean agreement of a member with frozen ones: ``sum_i w_i mean_b A(h_i, h) / sum_i w_i``.

    Args:
        logits: of the member that is trained, ``[b, C]`` (``[b, 1]`` for two classes).
        frozen: of M others, ``[M, b, C]``; no gradient flows into them.
        weights: ``[M]``, at least 0, None for all alike; with none but zeros, the result is 0.
        anchor: see :func:`pair_agreement`.
        epsilon: see :func:`pair_agreement`.

    Returns:
        A number, ``[]``.

    Raises:
        ValueError: if a shape does not fit, or as for :func:`pair_agreement`.
    """
    if jnp.ndim(logits) != 2 or jnp.shape(frozen)[1:] != jnp.shape(logits):
        raise ValueError(
            "frozen must be [M, b, C] for logits [b, C], got "
            f"{list(jnp.shape(frozen))} for {list(jnp.shape(logits))}"
        )
    if weights is not None and jnp.shape(weights) != jnp.shape(frozen)[:1]:
        raise ValueError(
            f"weights must be [M={len(frozen)}], one for each frozen member, got "
            f"{list(jnp.shape(weights))}"
        )
    frozen = jax.lax.stop_gradient(frozen)
    each = pair_agreement(logits, frozen, anchor=anchor, epsilon=epsilon).mean(1)
    if weights is None:
        return each.mean()
    weights = jnp.asarray(weights, each.dtype)
    total = jnp.sum(weights)
    return jnp.sum(weights * each) / jnp.where(total > 0, total, 1)


def sign_ascent(
    disagreement: Callable[[Array], Array],
    x: Array,
    delta: Array,
    *,
    num_steps: int = 15,
    step_size: float = 0.1,
    radius: float = 1.0,
) -> tuple[Array, tuple[Array, Array]]:
    """Moves points to where members disagree, within a box.

        delta <- clip( delta + step_size * sign(grad_delta D(x + delta)), -radius, radius )

    Args:
        disagreement: ``D(x) -> []``, a sum or mean over points, so that they do not interact.
        x: points, ``[b, ...]``.
        delta: where the search starts, ``[b, ...]``.
        num_steps: k, at least 1.
        step_size: above 0.
        radius: above 0, of the box.

    Returns:
        The last delta, and of every step D before it ``[k]`` and delta after it ``[k, b, ...]``.

    Raises:
        ValueError: if a number is out of its range.

    Source: the 2-D example of Pagliardini et al. 2022, arXiv 2202.04414.
    """
    checks.count("num_steps", num_steps)
    checks.number("step_size", step_size, above=0)
    checks.number("radius", radius, above=0)
    slope = jax.value_and_grad(lambda delta: disagreement(x + delta))

    def step(delta: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        value, gradient = slope(delta)
        delta = jnp.clip(delta + step_size * jnp.sign(gradient), -radius, radius)
        return delta, (value, delta)

    return jax.lax.scan(step, delta, None, length=num_steps)


def disagreement_points(
    *, num_steps: int = 15, step_size: float = 0.1, radius: float = 1.0
) -> Callable[[Callable[[Array], Array], Array, Array], Array]:
    """A ``search`` for :func:`jcollab.dbat`: unlabeled points that are made from given ones.

    Args:
        num_steps: see :func:`sign_ascent`.
        step_size: see :func:`sign_ascent`.
        radius: of the box around each point, in which the search starts uniformly at random.

    Returns:
        ``search(disagreement, x, key) -> x`` of the same shape.

    Raises:
        ValueError: if a number is out of its range.
    """
    checks.count("num_steps", num_steps)
    checks.number("step_size", step_size, above=0)
    checks.number("radius", radius, above=0)

    def search(disagreement: Callable[[Array], Array], x: Array, key: Array) -> Array:
        start = jax.random.uniform(key, x.shape, x.dtype, -radius, radius)
        delta, _ = sign_ascent(
            disagreement, x, start, num_steps=num_steps, step_size=step_size, radius=radius
        )
        return x + delta

    return search


def check_form(anchor: Any, epsilon: Any) -> None:
    """ValueError for an unknown form of the agreement."""
    checks.one_of("anchor", anchor, ANCHORS)
    if epsilon is not None:
        checks.number("epsilon", epsilon, at_least=0)


def _binary(z: Array, stable: bool) -> Any:
    """The probability of label 1, or the logarithms of it and of the rest."""
    return (jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z)) if stable else jax.nn.sigmoid(z)


def _one_of_many(z: Array, chosen: Array, stable: bool) -> Any:
    """The same for the chosen class ``[..., 1]`` among ``[..., C]``."""
    if not stable:
        return jnp.take_along_axis(jax.nn.softmax(z), chosen, -1)[..., 0]
    own = jnp.take_along_axis(jax.nn.log_softmax(z), chosen, -1)[..., 0]
    others = jnp.arange(z.shape[-1]) != chosen
    rest = jax.nn.logsumexp(z, -1, where=others) - jax.nn.logsumexp(z, -1)
    return own, rest
