"""Agreement of ensemble members on unlabeled points, and search for points of disagreement."""

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
    """Computes the agreement of two members from the probabilities of one of two classes.

        A(p, q) = -log( p (1 - q) + (1 - p) q + epsilon )

    It is symmetric, ``-log(1 + epsilon)`` for opposite and ``-log(epsilon)`` for equal one-hot
    predictions, and log 2 if p or q is 1/2 (for epsilon = 0).

    Args:
        p: probabilities of one member, in [0, 1], ``[...]``.
        q: probabilities of the other member, in [0, 1], ``[...]``.
        epsilon: at least 0; keeps the logarithm finite.

    Returns:
        ``[...]``.

    Raises:
        ValueError: if epsilon < 0, or a probability is outside of [0, 1].

    Example:
        >>> round(float(jc.objectives.binary_agreement(0.5, 0.9)), 3)  # log 2
        0.693

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
    """Computes the agreement of a trained member with a frozen one on each point.

    With one logit, both members predict the probability of label 1, and the result is
    :func:`binary_agreement`. With C logits, one class k is compared with all others:

        A = -log( q (1 - r) + r (1 - q) + epsilon ),    q = softmax(frozen)_k, r = softmax(logits)_k

    Args:
        logits: logits of the trained member, ``[..., C]``, or ``[..., 1]`` for two classes.
        frozen: logits of the frozen member, of the same shape up to broadcasting.
        anchor: the member that determines k, its most probable class (the first of several):
            ``"frozen"`` as in the released code, or ``"trained"`` as in the paper's algorithm; not
            used with one logit. For q < 1/2, which is possible for C > 2, minimizing A increases r:
            members disagree only with confident members.
        epsilon: constant in the logarithm, as in the released code. With it, the gradient vanishes
            where both members are certain and agree. None omits it and computes in the logarithmic
            domain, in which A grows linearly in the logits there.

    Returns:
        ``[...]``.

    Raises:
        ValueError: if anchor is unknown, epsilon < 0, or the last axes differ.

    Example:
        >>> logits = jnp.array([[40.0, -40.0], [40.0, -40.0]])  # certain of class 0
        >>> frozen = jnp.array([[40.0, -40.0], [-40.0, 40.0]])  # agrees, and disagrees
        >>> [round(float(a)) for a in jc.objectives.pair_agreement(logits, frozen, epsilon=None)]
        [79, 0]

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
        # -log(q (1 - r) + (1 - q) r) of (log q, log(1 - q)) and (log r, log(1 - r))
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
    """Computes the mean agreement with frozen members, ``sum_i w_i mean_b A(h_i, h) / sum_i w_i``.

    Args:
        logits: logits of the trained member, ``[b, C]`` (``[b, 1]`` for two classes).
        frozen: logits of M frozen members, ``[M, b, C]``; no gradient flows into them.
        weights: ``[M]``, at least 0; None for equal weights. If all are 0, the result is 0.
        anchor: see :func:`pair_agreement`.
        epsilon: see :func:`pair_agreement`.

    Returns:
        A number, ``[]``.

    Raises:
        ValueError: if a shape does not fit, or as for :func:`pair_agreement`.

    Example:
        >>> logits, frozen = jnp.zeros((4, 2)), jnp.zeros((3, 4, 2))  # all undecided: log 2
        >>> round(float(jc.objectives.agreement(logits, frozen)), 3)
        0.693
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
    # 0 and not 0 / 0 if all weights are 0
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
    """Moves points within a box to where members disagree, by signed gradient ascent.

        delta <- clip( delta + step_size * sign(grad_delta D(x + delta)), -radius, radius )

    Args:
        disagreement: ``D(x) -> []``, a sum or mean over points, so that points do not interact.
        x: points, ``[b, ...]``.
        delta: start of the search, ``[b, ...]``.
        num_steps: k, at least 1.
        step_size: above 0.
        radius: half the side of the box, above 0.

    Returns:
        The last delta, and for every step D before it ``[k]`` and delta after it ``[k, b, ...]``.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> away_from_two = lambda x: ((x - 2) ** 2).sum()
        >>> x = jnp.array([1.0, 3.0])
        >>> delta, _ = jc.objectives.sign_ascent(away_from_two, x, jnp.zeros(2), radius=1.0)
        >>> delta.tolist()
        [-1.0, 1.0]

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
    """Builds a ``search`` for :func:`jcollab.dbat` that moves given points to disagreement.

    Args:
        num_steps: see :func:`sign_ascent`.
        step_size: see :func:`sign_ascent`.
        radius: half the side of the box around each point; the search starts uniformly in it.

    Returns:
        ``search(disagreement, x, key) -> x`` of the same shape.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> search = jc.objectives.disagreement_points(num_steps=20, radius=1.0)
        >>> search(lambda x: x.sum(), jnp.zeros(3), jax.random.key(0)).tolist()
        [1.0, 1.0, 1.0]
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
    """Raises ValueError for an unknown anchor or a negative epsilon."""
    checks.one_of("anchor", anchor, ANCHORS)
    if epsilon is not None:
        checks.number("epsilon", epsilon, at_least=0)


def _binary(z: Array, stable: bool) -> Any:
    """Returns the probability p of label 1, or if ``stable`` both log p and log(1 - p)."""
    return (jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z)) if stable else jax.nn.sigmoid(z)


def _one_of_many(z: Array, chosen: Array, stable: bool) -> Any:
    """Returns the same for the chosen class ``[..., 1]`` among ``[..., C]``."""
    if not stable:
        return jnp.take_along_axis(jax.nn.softmax(z), chosen, -1)[..., 0]
    own = jnp.take_along_axis(jax.nn.log_softmax(z), chosen, -1)[..., 0]
    # log(1 - p) as a sum over the other classes: 1 - p rounds to 0 for a certain class
    others = jnp.arange(z.shape[-1]) != chosen
    rest = jax.nn.logsumexp(z, -1, where=others) - jax.nn.logsumexp(z, -1)
    return own, rest
