"""The paper's searches for a learning rate, as one compiled program over many problems.

A run is tested at rounds that are evenly spaced on a logarithmic scale. What happens first decides
how the interval of learning rates shrinks; both searches follow the decisions of the original code,
so that tuned numbers can be compared digit for digit. That includes one habit of ``fastest``: the
learning rate that it reports for an improvement is half the one that was run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from jcollab.data.quadratics import Quadratics, objective_value

# what a test of a run can find
ON, REACHED, SLOW, DIVERGED, RISING, PLATEAU, EXHAUSTED = range(7)
MOST_TRIALS = 30


class Rule(NamedTuple):
    """When a run ends and what is searched for.

    Attributes:
        plateau: settle for where the error comes to rest (else: reach the target at all).
        target: suboptimality that is asked for.
        start: first learning rate; the search begins at twice that.
        max_steps: rounds after which a run is given up.
        test_points: number of tests in a run, before rounding.
        may_rise: whether the error may rise above the target on the way.
    """

    plateau: bool = False
    target: float = 1e-6
    start: float = 10.0
    max_steps: int = 10_000
    test_points: int = 1000
    may_rise: bool = False


class Best(NamedTuple):
    """What a search finds: ``steps`` (0 where none reaches the target) and ``learning_rate``."""

    steps: jax.Array
    learning_rate: jax.Array


Build = Callable[[Any], jc.Algorithm]


def tune(build: Build, problems: Quadratics, stars: Any, rule: Rule) -> Best:
    """Tunes one method on many problems at once.

    Args:
        build: ``build(learning_rate) -> Algorithm`` for parameters ``[n, d]``.
        problems: ``A [S, n, d, d]`` and ``b [S, n, d]``.
        stars: values of the optima, ``[S]``.
        rule: what to look for.

    Returns:
        Steps and learning rates, ``[S]``.
    """
    return _tune(build, rule, jax.tree.map(jnp.asarray, problems), jnp.asarray(stars))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _tune(build: Build, rule: Rule, problems: Quadratics, stars: jax.Array) -> Best:
    return jax.vmap(lambda problem, star: _search(build, rule, problem, star))(problems, stars)


class _Interval(NamedTuple):
    low: jax.Array  # NaN until some rate is known to be too small
    high: jax.Array
    rate: jax.Array
    best: Best
    trial: jax.Array
    done: jax.Array


def _search(build: Build, rule: Rule, problem: Quadratics, star: jax.Array) -> Best:
    width = 1e-6 if rule.plateau else 1e-4

    def wide(s: _Interval) -> jax.Array:
        open_below = jnp.isnan(s.low)
        return ~s.done & (s.trial < MOST_TRIALS) & (open_below | (s.high - s.low > width))

    def trial(s: _Interval) -> _Interval:
        first = s.high / 2 if rule.plateau else s.rate
        rate = jnp.where(jnp.isnan(s.low), first, (s.low + s.high) / 2)
        event, step, error = _trial(build, rule, problem, star, rate, s.best.steps)
        change = _judge_plateau if rule.plateau else _judge_fastest
        return change(s._replace(trial=s.trial + 1), rule, rate, event, step, error)

    twice = jnp.asarray(2.0 * rule.start, star.dtype)
    nothing = Best(jnp.zeros((), int), jnp.asarray(jnp.nan, star.dtype))
    begin = _Interval(
        jnp.full_like(twice, jnp.nan), twice, twice, nothing, jnp.int32(0), jnp.bool_(False)
    )
    return jax.lax.while_loop(wide, trial, begin).best


def _larger(low: jax.Array, rate: jax.Array) -> jax.Array:
    return jnp.where(jnp.isnan(low), rate, jnp.maximum(low, rate))


def _judge_fastest(
    s: _Interval, rule: Rule, rate: jax.Array, event: jax.Array, step: jax.Array, error: jax.Array
) -> _Interval:
    reached = (event == REACHED) | ((event == PLATEAU) & (error < rule.target))
    too_large = (event == DIVERGED) | (event == RISING) | ((event == PLATEAU) & ~reached)
    too_small = (event == SLOW) | (event == EXHAUSTED)
    better = reached & ((s.best.steps == 0) | (step < s.best.steps))
    worse = reached & ~better
    smaller = jnp.minimum(rate, s.high)
    low = jnp.where(worse | too_small, smaller, s.low)
    high = jnp.where(too_large, _larger(s.low, rate), s.high)
    high = jnp.where(worse, jnp.minimum(4 * rate, s.high), high)
    following = jnp.where(too_large | better, rate / 2, rate)
    best = Best(
        jnp.where(better, step, s.best.steps),
        jnp.where(better, following, s.best.learning_rate),
    )
    return s._replace(low=low, high=high, rate=following, best=best)


def _judge_plateau(
    s: _Interval, rule: Rule, rate: jax.Array, event: jax.Array, step: jax.Array, error: jax.Array
) -> _Interval:
    rest = event == PLATEAU
    below = rest & (error < rule.target)
    above = rest & (error > rule.target)
    close = below & (error > rule.target / 1.1)
    too_large = (event == DIVERGED) | (event == RISING) | above
    too_small = (event == SLOW) | (event == EXHAUSTED) | (rest & ~above & ~close)
    better = below & ((s.best.steps == 0) | (step < s.best.steps))
    best = Best(
        jnp.where(better, step, s.best.steps), jnp.where(better, rate, s.best.learning_rate)
    )
    low = jnp.where(too_small, jnp.minimum(rate, s.high), s.low)
    high = jnp.where(too_large, _larger(s.low, rate), s.high)
    return s._replace(low=low, high=high, best=best, done=close)


class _Run(NamedTuple):
    state: jc.State
    step: jax.Array
    tests: jax.Array
    errors: jax.Array  # the last three, newest last
    first: jax.Array
    event: jax.Array
    error: jax.Array


def _trial(
    build: Build,
    rule: Rule,
    problem: Quadratics,
    star: jax.Array,
    rate: jax.Array,
    best: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Runs one learning rate until something happens: the event, its step and the error."""
    n, _, d = problem.A.shape
    algorithm, key = build(rate), jax.random.key(0)
    grid = np.logspace(0, np.log2(rule.max_steps), rule.test_points, base=2).round().astype(int)
    grid = np.unique(grid[grid < rule.max_steps])
    gaps = jnp.asarray(np.diff(grid, prepend=0))
    tolerance = rule.target / (100 if rule.plateau else 10)
    may_not_rise = not rule.may_rise

    def advance(r: _Run) -> _Run:
        """On to the next test, and what it finds."""
        gap = gaps[r.tests]
        state = jax.lax.fori_loop(
            0, gap, lambda _, state: algorithm.update(state, problem, key)[0], r.state
        )
        step, tests = r.step + gap, r.tests + 1
        error = objective_value(problem, jc.params_of(state).mean(0)) - star
        errors = jnp.concatenate([r.errors[1:], error[None]])
        first = jnp.where(tests == 1, error, r.first)
        found = {
            REACHED: (error < rule.target) & (not rule.plateau),
            SLOW: (best > 0) & (step > best * 10),
            DIVERGED: ~(error <= first),
            RISING: (tests >= 2) & (error > jnp.maximum(errors[-2], rule.target)) & may_not_rise,
            PLATEAU: (tests >= 3) & (jnp.abs(errors - errors.mean()) < tolerance).all(),
            EXHAUSTED: tests == len(grid),
        }
        event = jnp.select(list(found.values()), list(found), ON)
        shown = jnp.where(event == PLATEAU, errors.mean(), error)
        return _Run(state, step, tests, errors, first, event, shown)

    zero, count = jnp.zeros((), star.dtype), jnp.zeros((), gaps.dtype)
    start = algorithm.init(key, jnp.zeros((n, d), star.dtype))
    begin = _Run(start, count, count, jnp.zeros(3, star.dtype), zero, jnp.asarray(ON), zero)
    end = jax.lax.while_loop(lambda r: r.event == ON, advance, begin)
    return end.event, end.step, end.error
