"""Updates that take effect late: fixed, random and per-coordinate delays, and smaller late steps.

A gradient that was computed at ``x(t)`` and is applied ``d`` steps later is a ring buffer of ``d``
updates between the gradient and the model, so delays are optax transforms. Put them first in a
chain: the optimizer then sees late gradients, as a server does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks

PyTree = Any
Array = jax.Array
Rule = Callable[[Array], Array]


class DelayState(NamedTuple):
    """Updates on their way.

    Attributes:
        steps: int32 ``[]``, number of updates that came in.
        waiting: leaves ``[maximum + 1, ...]``; the slot of step t is ``t mod (maximum + 1)``.
    """

    steps: Array
    waiting: PyTree


def delay_updates(
    delay: int | Array, maximum: int | None = None, *, first: str = "wait"
) -> optax.GradientTransformation:
    """Every update takes effect ``delay`` steps later: ``out(t) = u(t - d)``.

    With ``optax.sgd`` behind it, ``x(t+1) = x(t) - gamma g(x(t - d))``: the model of asynchronous
    training with equally fast clients, where d is their number less one. Delay 0 changes nothing,
    to the last bit (a traced 0 behind ``optax.sgd`` changes whether a compiler rounds the product
    with the learning rate; before it, it does not).

    Args:
        delay: d in 0..maximum. A traced value is clipped to that range, so that ``vmap`` can sweep
            delays; its buffer is as long as the maximum.
        maximum: largest delay, known when the program is traced; None for that of ``delay``.
        first: what happens in the first d steps: ``"wait"`` passes on zeros, ``"repeat"`` the first
            update, which is the start from a constant past, ``x(s) = x(0)`` for s < 0, where
            gradients are not random.

    Returns:
        A transform whose state leads with ``[maximum + 1, ...]``.

    Raises:
        TypeError: if delay or maximum is no integer.
        ValueError: if one is negative, delay exceeds the maximum, the maximum is missing for a
            traced delay, or ``first`` is unknown.

    Example:
        >>> optimizer = optax.chain(delay_updates(2), optax.sgd(0.1))

    Source: Stich and Karimireddy 2020, arXiv 1909.05350; Stich, Mohtashami and Jaggi 2021,
    arXiv 2103.02351.
    """
    delay, maximum = _checked(delay, maximum)
    checks.one_of("first", first, ("wait", "repeat"))
    length = maximum + 1

    def update(updates: PyTree, state: DelayState, params: PyTree = None) -> tuple:
        del params
        if isinstance(delay, int) and delay == 0:
            return updates, state._replace(steps=state.steps + 1)
        now = state.steps % length
        source = (state.steps - delay) % length
        if first == "repeat":
            source = jnp.where(state.steps < delay, 0, source)
        waiting = jax.tree.map(lambda w, u: w.at[now].set(u), state.waiting, updates)
        late = jax.tree.map(lambda w: w[source], waiting)
        return late, DelayState(state.steps + 1, waiting)

    return optax.GradientTransformation(lambda params: _empty(params, length), update)


def random_delays(
    key: Array,
    delay: int | Array,
    maximum: int | None = None,
    *,
    draw: Callable[[Array, Any, tuple], Array] | None = None,
) -> optax.GradientTransformation:
    """Every update takes effect once, after a random delay: ``out(t) = sum_{s + d(s) = t} u(s)``.

    Several updates may arrive in one step, and none in another. Clients that share the transform
    share what is drawn.

    Args:
        key: random key; step s draws from ``fold_in(key, s)``.
        delay: largest delay that is drawn, in 0..maximum; may be traced.
        maximum: as for :func:`delay_updates`.
        draw: ``draw(key, delay, shape) -> int`` in 0..delay; None for uniform draws. What lies
            outside 0..maximum is clipped.

    Returns:
        A transform whose state leads with ``[maximum + 1, ...]``.

    Raises:
        TypeError: as for :func:`delay_updates`, and if ``draw`` is not callable.
        ValueError: as for :func:`delay_updates`.
    """
    return _drawn(key, delay, maximum, draw, per_coordinate=False)


def coordinate_delays(
    key: Array,
    delay: int | Array,
    maximum: int | None = None,
    *,
    draw: Callable[[Array, Any, tuple], Array] | None = None,
) -> optax.GradientTransformation:
    """Every coordinate of every update takes effect after a delay of its own, as in Hogwild.

        out(t)_v = sum_{s + d(s, v) = t} u(s)_v

    Lock-free writers leave a model in which some coordinates of an update have arrived and others
    have not; nothing is lost.

    Args:
        key: as for :func:`random_delays`.
        delay: as for :func:`random_delays`.
        maximum: as for :func:`random_delays`.
        draw: as for :func:`random_delays`; called once for each leaf, with its shape.

    Returns:
        A transform whose state leads with ``[maximum + 1, ...]``.

    Raises:
        TypeError: as for :func:`random_delays`.
        ValueError: as for :func:`random_delays`.

    Source: Niu et al. 2011, arXiv 1106.5730; Leblond et al. 2018, arXiv 1801.03749.
    """
    return _drawn(key, delay, maximum, draw, per_coordinate=True)


def _drawn(
    key: Array,
    delay: int | Array,
    maximum: int | None,
    draw: Callable[[Array, Any, tuple], Array] | None,
    *,
    per_coordinate: bool,
) -> optax.GradientTransformation:
    delay, maximum = _checked(delay, maximum)
    checks.key("key", key)
    if draw is not None:
        checks.functions(draw=draw)
    draw = draw or _uniform
    length = maximum + 1

    def update(updates: PyTree, state: DelayState, params: PyTree = None) -> tuple:
        del params
        if isinstance(delay, int) and delay == 0 and draw is _uniform:
            return updates, state._replace(steps=state.steps + 1)
        now = state.steps % length
        leaves, structure = jax.tree.flatten(updates)
        step_key = jax.random.fold_in(key, state.steps)
        common = jnp.clip(draw(step_key, delay, ()), 0, maximum)
        late, left = [], []
        for i, (u, w) in enumerate(zip(leaves, jax.tree.leaves(state.waiting), strict=True)):
            if per_coordinate:
                wait = jnp.clip(draw(jax.random.fold_in(step_key, i), delay, u.shape), 0, maximum)
                slots = jnp.arange(length).reshape(length, *(1,) * u.ndim)
                w = w + jnp.where(slots == (now + wait) % length, u, 0)
            else:
                w = w.at[(now + common) % length].add(u)
            late.append(w[now])
            left.append(w.at[now].set(0))
        waiting = jax.tree.unflatten(structure, left)
        return jax.tree.unflatten(structure, late), DelayState(state.steps + 1, waiting)

    return optax.GradientTransformation(lambda params: _empty(params, length), update)


def scale_by_delay(rule: Rule | None = None) -> optax.GradientTransformationExtraArgs:
    """Smaller steps for later gradients: ``out = rule(delay) u``.

    ``update`` takes the delay of the gradient as the extra argument ``delay``;
    :func:`jcollab.algorithms.asynchronous` passes the one that has come about.

    Args:
        rule: ``rule(delay) -> factor``, such as :func:`polynomial_staleness`,
            :func:`critical_staleness` or :func:`drop_stale`; None for ``1 / (1 + delay)``.

    Returns:
        A transform without state.

    Raises:
        TypeError: if ``rule`` is not callable; in ``update``, if no delay is given.

    Example:
        >>> optimizer = optax.chain(scale_by_delay(critical_staleness(9.0)), optax.sgd(0.1))

    Source: Mishchenko et al. 2022, arXiv 2206.07638; Koloskova, Stich and Jaggi 2022,
    arXiv 2206.08307.
    """
    chosen = polynomial_staleness(1.0) if rule is None else rule
    checks.scalar_function("rule", chosen, jnp.int32(0))

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, delay: Any = None, **extra: Any
    ) -> tuple:
        del params, extra
        if delay is None:
            raise TypeError("delay must be given to scale_by_delay: update(..., delay=d), got None")
        factor = chosen(jnp.asarray(delay))
        return jax.tree.map(lambda u: (factor * u).astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def polynomial_staleness(power: float = 0.5) -> Rule:
    """The factor ``(1 + delay)^-power``; 1/2 is FedBuff's.

    Raises:
        ValueError: if power < 0.

    Source: Xie et al. 2019, arXiv 1903.03934; Nguyen et al. 2022, arXiv 2106.06639.
    """
    checks.number("power", power, at_least=0)
    return lambda delay: (1.0 + jnp.asarray(delay, float)) ** -power


def critical_staleness(noise_ratio: float | Array) -> Rule:
    """The factor ``1 / (1 + 2 delay / (1 + M))``: late gradients are free up to the noise.

    Args:
        noise_ratio: M >= 0, noise over signal, see :mod:`jcollab.theory.noise_scale`.

    Raises:
        ValueError: if noise_ratio < 0.
    """
    checks.number("noise_ratio", noise_ratio, at_least=0)
    return lambda delay: 1 / (1 + 2 * jnp.asarray(delay, float) / (1 + noise_ratio))


def drop_stale(largest: int | Array) -> Rule:
    """The factor 1 up to the delay ``largest`` and 0 beyond.

    Raises:
        ValueError: if largest < 0.
    """
    checks.number("largest", largest, at_least=0)
    return lambda delay: jnp.where(delay <= largest, 1.0, 0.0)


def _uniform(key: Array, delay: int | Array, shape: tuple) -> Array:
    return jax.random.randint(key, shape, 0, delay + 1, jnp.int32)


def _empty(params: PyTree, length: int) -> DelayState:
    zeros = jax.tree.map(lambda p: jnp.zeros((length, *jnp.shape(p)), jnp.result_type(p)), params)
    return DelayState(jnp.int32(0), zeros)


def _checked(delay: int | Array, maximum: int | None) -> tuple[Any, int]:
    if checks.traced(maximum):
        raise TypeError("maximum must be known when the program is traced, got a traced value")
    if isinstance(delay, jax.core.Tracer):
        if maximum is None:
            raise ValueError("maximum must be given for a traced delay, got None")
        if jnp.ndim(delay) or not jnp.issubdtype(delay.dtype, jnp.integer):
            raise TypeError(f"delay must be an integer, got {delay!r}")
        checks.count("maximum", maximum, at_least=0)
        return jnp.clip(delay, 0, maximum), operator.index(maximum)
    if maximum is None:
        checks.count("delay", delay, at_least=0)
        maximum = operator.index(delay)
    checks.count("maximum", maximum, at_least=0)
    checks.count("delay", delay, at_least=0, at_most=operator.index(maximum))
    return operator.index(delay), operator.index(maximum)
