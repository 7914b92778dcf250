"""Delayed updates: fixed, random and per-coordinate delays, and smaller steps for late updates.

A gradient that is computed at ``x(t)`` and applied ``d`` steps later passes through a ring buffer
between the gradient and the model, so delays are optax transforms. Place them first in a chain: the
optimizer then receives late gradients, as a server does.
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
    """Updates that have not taken effect yet.

    Attributes:
        steps: int32 ``[]``, number of updates received.
        waiting: leaves ``[maximum + 1, ...]``; the slot of step t is ``t mod (maximum + 1)``.
    """

    steps: Array
    waiting: PyTree


def delay_updates(
    delay: int | Array, maximum: int | None = None, *, first: str = "wait"
) -> optax.GradientTransformation:
    """Builds a transform that delays every update by ``delay`` steps: ``out(t) = u(t - d)``.

    Followed by ``optax.sgd``, it gives ``x(t+1) = x(t) - gamma g(x(t - d))``, the model of
    asynchronous training with d + 1 equally fast clients. Delay 0 returns updates unchanged, bit
    for bit. (After ``optax.sgd``, a traced 0 can change the rounding of the product with the
    learning rate; before it, it cannot.)

    Args:
        delay: d in 0..maximum. A traced value is clipped to that range, so that ``vmap`` can sweep
            delays; its buffer has the length of the maximum.
        maximum: largest delay, known when the program is traced; None for ``delay``.
        first: output of the first d steps: ``"wait"`` returns zeros, ``"repeat"`` the first update.
            If gradients are not random, the latter is a start from a constant past, ``x(s) = x(0)``
            for s < 0.

    Returns:
        A transform whose state leads with ``[maximum + 1, ...]``.

    Raises:
        TypeError: if delay or maximum is not an integer.
        ValueError: if delay or maximum is negative, delay exceeds the maximum, the maximum is
            missing for a traced delay, or ``first`` is unknown.

    Example:
        >>> optimizer = jc.local.delay_updates(2)
        >>> state = optimizer.init(jnp.zeros(()))
        >>> for t in range(4):
        ...     late, state = optimizer.update(jnp.array(t + 1.0), state)
        ...     print(float(late), end=" ")
        0.0 0.0 1.0 2.0

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
        # The new update is stored before the old one is read, so a traced delay of 0 returns it.
        now = state.steps % length
        source = (state.steps - delay) % length
        # Slot 0 contains the first update until step maximum + 1, after every possible delay.
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
    """Builds a transform with random delays: ``out(t) = sum_{s + d(s) = t} u(s)``.

    Every update takes effect once. Several updates may arrive in one step, and none in another.
    Clients that use the same transform have the same delays.

    Args:
        key: random key; step s draws from ``fold_in(key, s)``.
        delay: largest delay that is drawn, in 0..maximum; may be traced.
        maximum: as for :func:`delay_updates`.
        draw: ``draw(key, delay, shape) -> int`` in 0..delay; None for uniform draws. Values outside
            0..maximum are clipped.

    Returns:
        A transform whose state leads with ``[maximum + 1, ...]``.

    Raises:
        TypeError: as for :func:`delay_updates`, and if ``draw`` is not callable.
        ValueError: as for :func:`delay_updates`.

    Example:
        >>> optimizer = jc.local.random_delays(jax.random.key(0), 2)
        >>> state, total, update = optimizer.init(jnp.zeros(())), 0.0, jax.jit(optimizer.update)
        >>> for u in (1.0, 2.0, 3.0, 0.0, 0.0):
        ...     late, state = update(jnp.array(u), state)
        ...     total += float(late)
        >>> total  # every update has taken effect once
        6.0
    """
    return _drawn(key, delay, maximum, draw, per_coordinate=False)


def coordinate_delays(
    key: Array,
    delay: int | Array,
    maximum: int | None = None,
    *,
    draw: Callable[[Array, Any, tuple], Array] | None = None,
) -> optax.GradientTransformation:
    """Builds a transform that delays every coordinate of an update separately, as in Hogwild.

        out(t)_v = sum_{s + d(s, v) = t} u(s)_v

    With lock-free writers, some coordinates of an update reach the model earlier than others, but
    none is lost.

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

    Example:
        >>> optimizer = jc.local.coordinate_delays(jax.random.key(0), 2)
        >>> state, total, update = optimizer.init(jnp.zeros(3)), 0.0, jax.jit(optimizer.update)
        >>> for u in (1.0, 2.0, 3.0, 0.0, 0.0):
        ...     late, state = update(jnp.full(3, u), state)
        ...     total += np.asarray(late)
        >>> total.tolist()
        [6.0, 6.0, 6.0]

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
        # The step selects the key: a restored run draws the delays that the first run would have
        # drawn.
        step_key = jax.random.fold_in(key, state.steps)
        common = jnp.clip(draw(step_key, delay, ()), 0, maximum)
        late, left = [], []
        for i, (u, w) in enumerate(zip(leaves, jax.tree.leaves(state.waiting), strict=True)):
            if per_coordinate:
                wait = jnp.clip(draw(jax.random.fold_in(step_key, i), delay, u.shape), 0, maximum)
                # Comparing with every slot avoids a scatter with one index for each coordinate.
                slots = jnp.arange(length).reshape(length, *(1,) * u.ndim)
                w = w + jnp.where(slots == (now + wait) % length, u, 0)
            else:
                w = w.at[(now + common) % length].add(u)
            # The slot is emptied, since the update that arrives maximum + 1 steps later adds to it.
            late.append(w[now])
            left.append(w.at[now].set(0))
        waiting = jax.tree.unflatten(structure, left)
        return jax.tree.unflatten(structure, late), DelayState(state.steps + 1, waiting)

    return optax.GradientTransformation(lambda params: _empty(params, length), update)


def scale_by_delay(rule: Rule | None = None) -> optax.GradientTransformationExtraArgs:
    """Builds a transform that scales updates by a function of their delay: ``out = rule(delay) u``.

    ``update`` requires the extra argument ``delay``, the delay of the gradient in steps, which
    :func:`jcollab.algorithms.asynchronous` passes.

    Args:
        rule: ``rule(delay) -> factor``, such as :func:`polynomial_staleness`,
            :func:`critical_staleness` or :func:`drop_stale`; None for ``1 / (1 + delay)``.

    Returns:
        A transform without state.

    Raises:
        TypeError: if ``rule`` is not callable; in ``update``, if no delay is given.

    Example:
        >>> optimizer = optax.chain(jc.local.scale_by_delay(), optax.sgd(1.0))
        >>> state = optimizer.init(jnp.zeros(()))
        >>> updates, state = optimizer.update(jnp.array(4.0), state, delay=3)
        >>> float(updates)  # -4 / (1 + 3)
        -1.0

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
    """Builds the factor ``(1 + delay)^-power``.

    Args:
        power: exponent, >= 0; FedBuff uses 1/2.

    Raises:
        ValueError: if power < 0.

    Example:
        >>> float(jc.local.polynomial_staleness(0.5)(3))  # 1 / sqrt(1 + 3)
        0.5

    Source: Xie et al. 2019, arXiv 1903.03934; Nguyen et al. 2022, arXiv 2106.06639.
    """
    checks.number("power", power, at_least=0)
    return lambda delay: (1.0 + jnp.asarray(delay, float)) ** -power


def critical_staleness(noise_ratio: float | Array) -> Rule:
    """Builds the factor ``1 / (1 + 2 delay / (1 + M))``, close to 1 for delays far below M.

    Args:
        noise_ratio: M >= 0, the ratio of noise to signal, see :mod:`jcollab.theory.noise_scale`.

    Raises:
        ValueError: if noise_ratio < 0.

    Example:
        >>> float(jc.local.critical_staleness(9.0)(5))  # 1 / (1 + 10 / 10)
        0.5
    """
    checks.number("noise_ratio", noise_ratio, at_least=0)
    return lambda delay: 1 / (1 + 2 * jnp.asarray(delay, float) / (1 + noise_ratio))


def drop_stale(largest: int | Array) -> Rule:
    """Builds the factor that is 1 up to the delay ``largest`` and 0 beyond.

    Args:
        largest: largest delay of an update that is used, >= 0; may be traced.

    Raises:
        ValueError: if largest < 0.

    Example:
        >>> jc.local.drop_stale(2)(jnp.arange(4)).tolist()
        [1.0, 1.0, 1.0, 0.0]
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
