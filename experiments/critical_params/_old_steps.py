"""Steps to a target, with the learning rate tuned: runs of all rates and seeds in lockstep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.interpolate

import jcollab as jc
from experiments.contract import Context
from jcollab import layout

GROWTH = 1.06  # between tests of a run; what lies between is interpolated
MOST_SHIFTS = 4  # moves of that window


class Task(NamedTuple):
    """What is trained and until when.

    Attributes:
        build: ``build(learning_rate) -> Algorithm`` with one model, ``state.shared.params``.
        params: the start, leaves ``[n, ...]``.
        data: for ``sample``.
        sample: ``sample(data, key, step) -> batch``.
        gap: ``gap(params [1, ...] or [n, ...]) -> number`` that is to fall to the target.
        target: see gap.
        max_steps: where runs end.
        width: learning rates tried at a time, in steps of sqrt(2).
    """

    build: Callable[[Any], jc.Algorithm]
    params: Any
    data: Any
    sample: Callable
    gap: Callable[[Any], Any]
    target: float
    max_steps: int
    width: int = 7


class Found(NamedTuple):
    """What tuning found.

    Attributes:
        steps: to the target, by the mean gap over seeds; infinite if it was not reached.
        learning_rate: the fastest.
        params: its models at that time, NumPy, leaves ``[S, ...]``.
    """

    steps: float
    learning_rate: float
    params: Any


def tune(task: Task, guess: float, seeds: jax.Array, context: Context) -> Found:
    """The fewest steps over learning rates around a guess, moved until the best is inside.

    Args:
        task: what to train.
        guess: learning rate in the middle of those that are tried.
        seeds: keys ``[S]``; all learning rates see the same draws.
        context: to stop early.
    """
    advance = _advance(task)
    best, tried = Found(np.inf, np.nan, None), set()
    spread = 2.0 ** ((np.arange(task.width) - task.width // 2) / 2)
    centre = 0
    for _ in range(MOST_SHIFTS):
        tried.add(centre)
        rates = guess * spread * 2.0**centre
        found, place = _race(task, advance, rates, seeds, context, best.steps)
        if found.steps < best.steps:
            best = found
        if place is None:
            break
        centre += {0: -1, len(rates) - 1: 1}.get(place, 0)
        if centre in tried or context.stop.is_set():
            break
    return best


def _advance(task: Task) -> Callable:
    """``advance(states, rates, keys, count) -> (states, gaps)`` over replicas."""

    def one(state: jc.State, rate: Any, key: jax.Array, count: jax.Array) -> tuple:
        algorithm = task.build(rate)

        def step(_: Any, state: jc.State) -> jc.State:
            sample_key, update_key = jax.random.split(jax.random.fold_in(key, state.step))
            batch = task.sample(task.data, sample_key, state.step)
            return algorithm.update(state, batch, update_key)[0]

        state = jax.lax.fori_loop(0, count, step, state)
        return state, task.gap(jc.params_of(state))

    return jax.jit(layout.per_replica(one, in_axes=(0, 0, 0, None)), donate_argnums=0)


def _race(
    task: Task,
    advance: Callable,
    rates: np.ndarray,
    seeds: jax.Array,
    context: Context,
    limit: float,
) -> tuple[Found, int | None]:
    """All rates side by side until the first arrives, and its place among them."""
    lanes, repeats = len(rates), len(seeds)
    each = jnp.repeat(jnp.asarray(rates, jnp.float32), repeats)
    keys = jnp.tile(seeds, lanes)
    states = jax.vmap(lambda rate, key: task.build(rate).init(key, task.params))(each, keys)
    step, before = 0, np.full(lanes, np.nan)
    while step < min(task.max_steps, 2 * limit) and not context.stop.is_set():
        count = min(max(1, round(step * (GROWTH - 1))), task.max_steps - step)
        states, gaps = advance(states, each, keys, jnp.int32(count))
        gaps = np.asarray(gaps, float).reshape(lanes, repeats).mean(1)
        gaps = np.where(np.isfinite(gaps), gaps, np.inf)
        step += count
        if (gaps <= task.target).any():
            after = np.where(gaps <= task.target, gaps, np.inf)
            taken = [_between(a, b, task.target) for a, b in zip(before, after, strict=True)]
            place = int(np.argmin(taken))
            own = slice(place * repeats, (place + 1) * repeats)
            models = jax.device_get(states.shared.params)
            models = jax.tree.map(lambda leaf: leaf[own], models)  # noqa: B023
            steps = step - count * (1 - taken[place])
            return Found(float(steps), float(rates[place]), models), place
        if step > 30 and not (gaps < 1e3 * np.nanmin(np.append(gaps, np.inf)) + 1e30).any():
            break
        before = gaps
    return Found(np.inf, np.nan, None), None


def _between(before: float, after: float, target: float) -> float:
    """Part of the last piece after which the target was reached, along the logarithm."""
    if not np.isfinite(after):
        return np.inf
    if not np.isfinite(before) or before <= after:
        return 1.0
    return float(np.log(before / target) / np.log(before / max(after, 1e-30)))


# the exact slowdown by tau / (1 + M), T2: of M = 99 up to 2, of M = 9 beyond
RATIOS = np.log([0.01, 0.03, 0.1, 0.3, 1, 2, 3, 10, 20])
SLOWDOWNS = np.log(
    [1.00996, 1.02958, 1.09587, 1.27127, 1.81338, 2.51427, 3.24460, 7.70344, 13.7054]
)

CURVE = scipy.interpolate.PchipInterpolator(RATIOS, SLOWDOWNS)


def slowdown(ratio: Any) -> np.ndarray:
    """The exact slowdown at ``tau / (1 + M)``, between 0 and far beyond the knee."""
    log = np.log(np.maximum(ratio, 1e-9))
    low = 1 + np.exp(log - RATIOS[0]) * np.expm1(SLOWDOWNS[0])  # linear near 0
    high = SLOWDOWNS[-1] + np.maximum(log - RATIOS[-1], 0)  # and far out
    inside = np.where(log > RATIOS[-1], high, CURVE(np.clip(log, RATIOS[0], RATIOS[-1])))
    return np.where(log < RATIOS[0], low, np.exp(inside))


def fit_batch(batches: Any, steps: Any) -> float:
    """C of ``T(b) = T_inf (1 + C/b)``, by least squares of logarithms."""
    b, t = np.asarray(batches, float), np.log(np.asarray(steps, float))
    grid = np.geomspace(0.05, 1e6, 2000)
    curves = np.log1p(grid[:, None] / b)
    residuals = t - curves
    return float(grid[np.argmin(residuals.var(1))])


def fit_delay(delays: Any, steps: Any) -> float:
    """C of ``T(tau) = T(0) slowdown(tau / (1 + C))``, by least squares of logarithms."""
    tau, t = np.asarray(delays, float), np.log(np.asarray(steps, float))
    grid = np.geomspace(0.05, 1e6, 1000)
    curves = np.log([np.where(tau > 0, slowdown(tau / (1 + c)), 1.0) for c in grid])
    return float(grid[np.argmin((t - curves).var(1))])
