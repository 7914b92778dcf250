import heapq

import jax
import numpy as np
import pytest

import jcollab as jc

N, D, T = 4, 3, 24
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def simulate_arrivals(times, joins, leaves):
    """An event queue: (time, client)."""
    events = [(joins[i] + t, i) for i, t in enumerate(times) if joins[i] + t <= leaves[i]]
    heapq.heapify(events)
    while events:
        now, i = heapq.heappop(events)
        yield i, now
        if now + times[i] <= leaves[i]:
            heapq.heappush(events, (now + times[i], i))


def test_arrivals_equal_an_event_queue():
    times, link = np.array([1.0, 1.5, 2.25, 4.0]), 0.5
    joins, leaves = np.array([0.0, 0, 5, 0]), np.array([np.inf, 9, np.inf, 12])
    schedule = jc.theory.arrivals.simulate(
        KEY, 40, times, link_time=link, joins=joins, leaves=leaves
    )
    queue = simulate_arrivals(times + link, joins, leaves)
    expected = [next(queue) for _ in range(40)]
    assert np.asarray(schedule.client).tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(schedule.time, [t for _, t in expected], rtol=1e-6)
    late = np.asarray(schedule.client)[np.asarray(schedule.time) > 12]
    assert set(late) == {0, 2} and 2 not in np.asarray(schedule.client)[:3]


def test_random_speeds_are_drawn_by_client():
    draw = jc.theory.arrivals.straggling(0.1, 5.0, jc.theory.arrivals.exponential())
    few = jc.theory.arrivals.compute_times(KEY, 3, draw)
    many = jc.theory.arrivals.compute_times(KEY, 5, draw)
    np.testing.assert_array_equal(few, many[:3])
    for kind, spread in (
        (jc.theory.arrivals.exponential(), 1),
        (jc.theory.arrivals.gamma(4.0), 1 / 4),
        (jc.theory.arrivals.lognormal(0.5), np.exp(0.25) - 1),
        (jc.theory.arrivals.straggling(0.2, 6.0), 4.0),
    ):
        values = np.asarray(jc.theory.arrivals.compute_times(KEY, 4000, kind))
        mean = 2.0 if spread == 4.0 else 1.0
        assert abs(values.mean() - mean) < 4 * np.sqrt(spread / 4000)
        assert values.var() == pytest.approx(spread, rel=0.25)
