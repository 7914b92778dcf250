"""Steps to a target with a tuned learning rate: runs of all rates and seeds in lockstep."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

import jcollab as jc
from experiments.contract import Context

GROWTH = 1.06  # between tests of a run; what lies between is interpolated
MOST_SHIFTS = 4  # moves of the window of learning rates


@dataclasses.dataclass(frozen=True)
class Problem:
    """A loss to bring down from a start to a target."""

    name: str  # for rows and figures
    loss: Callable[..., Any]  # ``loss(params, batch, key)`` of one client
    examples: jc.data.Dataset
    start: Any  # a model
    lowest: float  # f*, or 0
    target: float  # of ``f - f*``
    max_steps: int  # where runs end
    width: int = 7  # learning rates that are tried at a time, in steps of sqrt(2)
    evaluated: jc.data.Dataset | None = None  # what f is measured on while runs go on; None for all

    def gap(self, params: Any) -> Any:
        """``f - f*`` of the first of models ``[n, ...]``."""
        examples = self.examples if self.evaluated is None else self.evaluated
        found = self.loss(jax.tree.map(lambda leaf: leaf[0], params), examples, jax.random.key(0))
        return (found[0] if isinstance(found, tuple) else found) - self.lowest


def convex(
    name: str,
    loss: Callable[..., Any],
    examples: jc.data.Dataset,
    shape: tuple[int, int],
    share: float,
    max_steps: int,
) -> Problem:
    """From zero to a share of the first suboptimality; f* is found by L-BFGS in float64."""
    with jax.enable_x64(True):
        exact = jc.data.Dataset(jnp.asarray(examples.x, float), jnp.asarray(examples.y))
        slope = jax.jit(jax.value_and_grad(lambda p: loss(p.reshape(shape), exact, None)))

        def both(p: np.ndarray) -> tuple[float, np.ndarray]:
            value, grads = slope(jnp.asarray(p))
            return float(value), np.asarray(grads, float)

        found = scipy.optimize.minimize(
            both,
            np.zeros(shape[0] * shape[1]),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-8},
        )
    start, lowest = jnp.zeros(shape), float(found.fun)
    target = share * (float(loss(start, examples, None)) - lowest)
    return Problem(name, loss, examples, start, lowest, target, max_steps)


class Found(NamedTuple):
    """What tuning found.

    Attributes:
        steps: to the target, by the mean gap over seeds; infinite if it was not reached.
        learning_rate: the fastest.
        params: its models at that time, NumPy, leaves ``[S, ...]``.
    """

    steps: float = np.inf
    learning_rate: float = np.nan
    params: Any = None

    @property
    def row(self) -> dict[str, float | None]:
        """Steps and learning rate, None where the target was not reached."""
        reached = np.isfinite(self.steps)
        return {
            "steps": self.steps if reached else None,
            "learning_rate": self.learning_rate if reached else None,
        }


def tune(
    problem: Problem,
    build: Callable[[Any], jc.Algorithm],
    guess: float,
    seeds: jax.Array,
    context: Context,
    *,
    n: int = 1,
    batch: int = 1,
) -> Found:
    """The fewest steps over learning rates around a guess, moved until the best is inside.

    Args:
        problem: what to train, and until when.
        build: ``build(learning_rate) -> Algorithm`` with one model, ``state.shared.params``.
        guess: learning rate in the middle of those that are tried.
        seeds: keys ``[S]``; all learning rates see the same draws.
        context: to stop early.
        n: number of clients.
        batch: examples of a gradient.
    """
    data = jc.data.client_data(problem.examples, [np.arange(len(problem.examples.y))])
    sample, params = jc.data.minibatches(batch), jc.replicate(problem.start, n)

    def advance(rate: Any, key: jax.Array, state: jc.State, count: jax.Array) -> tuple:
        algorithm = build(rate)

        def step(_: Any, state: jc.State) -> jc.State:
            sample_key, update_key = jax.random.split(jax.random.fold_in(key, state.step))
            return algorithm.update(state, sample(data, sample_key, state.step), update_key)[0]

        state = jax.lax.fori_loop(0, count, step, state)
        return state, problem.gap(jc.params_of(state))

    side_by_side = jax.jit(
        jc.layout.per_replica(advance, in_axes=(0, 0, 0, None)), donate_argnums=2
    )
    best, tried = Found(), set()
    spread = 2.0 ** ((np.arange(problem.width) - problem.width // 2) / 2)
    center = 0
    for _ in range(MOST_SHIFTS):
        tried.add(center)
        rates = guess * spread * 2.0**center
        each = jnp.repeat(jnp.asarray(rates, jnp.float32), len(seeds))
        keys = jnp.tile(seeds, len(rates))
        states = jax.vmap(lambda rate, key: build(rate).init(key, params))(each, keys)
        race = functools.partial(side_by_side, each, keys)
        found, place = _race(problem, race, states, rates, context, best.steps)
        if found.steps < best.steps:
            best = found
        if place is None:
            break
        center += {0: -1, len(rates) - 1: 1}.get(place, 0)
        if center in tried or context.stop.is_set():
            break
    return best


def _race(
    problem: Problem,
    advance: Callable[..., tuple],
    states: jc.State,
    rates: np.ndarray,
    context: Context,
    limit: float,
) -> tuple[Found, int | None]:
    """All rates side by side until the first arrives, and its place among them."""
    lanes, target = len(rates), problem.target
    step, before = 0, np.full(lanes, np.nan)
    while step < min(problem.max_steps, 2 * limit) and not context.stop.is_set():
        count = min(max(1, round(step * (GROWTH - 1))), problem.max_steps - step)
        states, gaps = advance(states, jnp.int32(count))
        gaps = np.asarray(gaps, float).reshape(lanes, -1).mean(1)
        gaps = np.where(np.isfinite(gaps), gaps, np.inf)
        step += count
        if (gaps <= target).any():
            after = np.where(gaps <= target, gaps, np.inf)
            taken = [_between(a, b, target) for a, b in zip(before, after, strict=True)]
            place = int(np.argmin(taken))
            models = jax.tree.map(
                lambda leaf: np.split(leaf, lanes)[place],  # noqa: B023
                jax.device_get(states.shared.params),
            )
            steps = step - count * (1 - taken[place])
            return Found(float(steps), float(rates[place]), models), place
        if step > 30 and not (gaps < 1e3 * np.nanmin(np.append(gaps, np.inf)) + 1e30).any():
            break
        before = gaps
    return Found(), None


def _between(before: float, after: float, target: float) -> float:
    """Part of the last piece after which the target was reached, along the logarithm."""
    if not np.isfinite(after):
        return np.inf
    if not np.isfinite(before) or before <= after:
        return 1.0
    return float(np.log(before / target) / np.log(before / max(after, 1e-30)))
