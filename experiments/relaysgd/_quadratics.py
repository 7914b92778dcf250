"""The paper's experiments on quadratics: error curves, and searches for a learning rate.

A search tests a run at rounds that are evenly spaced on a logarithmic scale. The first event
decides how the interval of learning rates shrinks. Both searches follow the original code, so that
tuned numbers agree digit for digit; the search for the fastest rate reports half the learning rate
of an improving run, as the original does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.relaysgd._methods import METHODS
from jcollab.data.synthetic import Quadratics, quadratics

Build = Callable[[Any], jc.Algorithm]
# outcomes of a test
ON, REACHED, SLOW, DIVERGED, RISING, PLATEAU, EXHAUSTED = range(7)
TARGET = 1e-6  # target suboptimality
LARGEST = 20.0  # first learning rate of the searches
MOST_TRIALS = 30
TESTS = 1000  # number of tests of a run, before rounding


def method(name: str, n: int, *, noise: float = 0.0, mixer: jc.Mixer | None = None) -> Build:
    """Returns ``build(learning_rate) -> Algorithm`` of a method by name, without momentum.

    ``noise`` is the standard deviation of gradients; ``mixer`` replaces the mixer of the method.
    """
    loss, mixer = quadratics.quadratic_loss(noise), mixer or METHODS[name].mixer(n)
    return lambda rate: METHODS[name].build(loss, rate, 0.0, mixer)


def stack(problems: list[Quadratics]) -> Quadratics:
    """Stacks problems along a leading axis ``[S]``."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *problems)


def optimal_values(problems: Quadratics) -> np.ndarray:
    """Computes ``F*`` of each stacked problem, ``[S]``."""
    each = (Quadratics(a, b) for a, b in zip(*problems, strict=True))
    return np.array([quadratics.objective_value(p, quadratics.optimum(p)) for p in each])


def error_curves(
    build: Build, problems: Quadratics, rates: Any, rounds: int, keys: jax.Array
) -> jax.Array:
    """Computes ``F(mean x) - F*`` before each round and after the last, ``[S, T + 1]``.

    Problems are stacked; learning rates are ``[S]`` or one for all; keys are for the noise.
    """
    count, n, d = problems.b.shape

    def one(problem: Quadratics, least: Any, rate: Any, key: Any) -> Any:
        def error(state: jc.State) -> Any:
            mean = jc.params_of(state).mean(0)
            return {"error": quadratics.objective_value(problem, mean) - least}

        algorithm = jc.with_metrics(build(rate), error)
        state = algorithm.init(jnp.zeros((n, d)))
        _, log = jc.run(algorithm, state, jc.data.full_batch(problem), key, num_rounds=rounds)
        return jnp.concatenate([error(state)["error"][None], log["error"]])

    every = np.broadcast_to(rates, count)
    return jax.jit(jax.vmap(one))(problems, optimal_values(problems), every, keys)


class Best(NamedTuple):
    """State and result of a search."""

    steps: jax.Array  # 0 if no learning rate reaches the target
    learning_rate: jax.Array


class _Interval(NamedTuple):
    low: jax.Array  # NaN until a rate is too small
    high: jax.Array
    rate: jax.Array  # the next one to try without a lower end
    best: Best
    trial: jax.Array


class _Run(NamedTuple):
    state: jc.State
    step: jax.Array
    tests: jax.Array
    errors: jax.Array  # the last three, newest last
    first: jax.Array
    event: jax.Array


def tune(
    build: Build, problems: Quadratics, *, max_steps: int = 10_000, plateau: bool = False
) -> Best:
    """Tunes one method on stacked problems; returns steps and learning rates, ``[S]``.

    A run stops after ``max_steps``. With ``plateau``, the search finds the learning rate whose
    final error is the target; otherwise the one that reaches the target first.
    """
    width = 1e-6 if plateau else 1e-4
    attempt = _attempt(build, max_steps, plateau)

    def search(problem: Quadratics, least: jax.Array) -> Best:
        def wide(s: _Interval) -> jax.Array:
            open_below = jnp.isnan(s.low)
            return (s.trial < MOST_TRIALS) & (open_below | (s.high - s.low > width))

        def trial(s: _Interval) -> _Interval:
            first = s.high / 2 if plateau else s.rate
            rate = jnp.where(jnp.isnan(s.low), first, (s.low + s.high) / 2)
            end = attempt(problem, least, rate, s.best.steps)
            return _shrink(s, rate, end, plateau)._replace(trial=s.trial + 1)

        high = jnp.asarray(LARGEST, least.dtype)
        nothing = Best(jnp.zeros((), int), high * jnp.nan)
        start = _Interval(high * jnp.nan, high, high, nothing, jnp.int32(0))
        return jax.lax.while_loop(wide, trial, start).best

    return jax.jit(jax.vmap(search))(problems, optimal_values(problems))


def _shrink(s: _Interval, rate: jax.Array, end: _Run, plateau: bool) -> _Interval:
    """Shrinks the interval after a run with a learning rate."""
    event, rests = end.event, end.event == PLATEAU
    error = jnp.where(rests, end.errors.mean(), end.errors[-1])
    reached = (event == REACHED) | (rests & (error < TARGET))
    better = reached & ((s.best.steps == 0) | (end.step < s.best.steps))
    too_large = (event == DIVERGED) | (event == RISING) | (rests & ~reached)
    close = reached & (error > TARGET / 1.1) & plateau
    behind = reached & ~close if plateau else reached & ~better
    too_small = behind | (event == SLOW) | (event == EXHAUSTED)
    low = jnp.where(too_small, jnp.minimum(rate, s.high), s.low)
    high = jnp.where(too_large, jnp.fmax(s.low, rate), s.high)
    following = rate
    if not plateau:
        high = jnp.where(behind, jnp.minimum(4 * rate, s.high), high)
        following = jnp.where(too_large | better, rate / 2, rate)
    candidate = Best(end.step, following)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, s.best)
    low = jnp.where(close, high, low)  # ends the search
    return s._replace(low=low, high=high, rate=following, best=best)


def _attempt(build: Build, max_steps: int, plateau: bool) -> Callable[..., _Run]:
    """Returns ``run(problem, least, rate, best) -> _Run``, which stops at the first event."""
    grid = np.logspace(0, np.log2(max_steps), TESTS, base=2).round().astype(int)
    gaps = np.diff(np.unique(grid[grid < max_steps]), prepend=0)
    tolerance = TARGET / (100 if plateau else 10)

    def run(problem: Quadratics, least: jax.Array, rate: jax.Array, best: jax.Array) -> _Run:
        algorithm, key = build(rate), jax.random.key(0)

        def advance(r: _Run) -> _Run:  # runs until the next test
            gap = jnp.asarray(gaps)[r.tests]
            state = jax.lax.fori_loop(
                0, gap, lambda _, state: algorithm.update(state, problem, key)[0], r.state
            )
            step, tests = r.step + gap, r.tests + 1
            error = quadratics.objective_value(problem, jc.params_of(state).mean(0)) - least
            errors = jnp.concatenate([r.errors[1:], error[None]])
            first = jnp.where(tests == 1, error, r.first)
            events = {
                REACHED: (error < TARGET) & (not plateau),
                SLOW: (best > 0) & (step > best * 10),
                DIVERGED: ~(error <= first),
                RISING: (tests >= 2) & (error > jnp.maximum(errors[-2], TARGET)),
                PLATEAU: (tests >= 3) & (jnp.abs(errors - errors.mean()) < tolerance).all(),
                EXHAUSTED: tests == len(gaps),
            }
            event = jnp.select(list(events.values()), list(events), ON)
            return _Run(state, step, tests, errors, first, event)

        start = algorithm.init(jnp.zeros(problem.b.shape, least.dtype))
        none, count = jnp.zeros(3, least.dtype), jnp.zeros((), gaps.dtype)
        begin = _Run(start, count, count, none, none[0], jnp.asarray(ON))
        return jax.lax.while_loop(lambda r: r.event == ON, advance, begin)

    return run
