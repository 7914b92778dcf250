import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from tests.algorithms.delay_cases import KEY, START, D, N, T, data, loss


def shift(updates, delays):
    """What arrives at each step, one update after the other."""
    out = np.zeros_like(updates)
    for s, update in enumerate(updates):
        for place in np.ndindex(update.shape):
            arrival = s + np.broadcast_to(delays[s], update.shape)[place]
            if arrival < len(out):
                out[arrival][place] += update[place]
    return out


def pushed(transform, updates):
    def one(state, update):
        out, state = transform.update(update, state)
        return state, out

    return jax.lax.scan(one, transform.init(updates[0]), updates)[1]


def test_delays_shift_updates():
    updates = jnp.asarray(np.random.default_rng(0).normal(size=(10, D)))
    for delay in (0, 1, 3):
        expected = shift(np.asarray(updates), [delay] * 10)
        np.testing.assert_array_equal(pushed(jc.local.delay_updates(delay), updates), expected)
        delayed = pushed(jc.local.delay_updates(delay, first="repeat"), updates)
        np.testing.assert_array_equal(delayed[delay:], expected[delay:])
        np.testing.assert_array_equal(delayed[:delay], np.repeat(updates[:1], delay, 0))
    # a traced delay up to a static maximum
    swept = jax.vmap(lambda d: pushed(jc.local.delay_updates(d, 4), updates))(jnp.arange(5))
    np.testing.assert_array_equal(swept[3], pushed(jc.local.delay_updates(3), updates))

    def table(key, delay, shape):  # the same draws on both sides
        return jax.random.randint(key, shape, 0, delay + 1)

    steps = [jax.random.fold_in(KEY, s) for s in range(10)]
    common = [np.asarray(table(key, 3, ())) for key in steps]
    own = [np.asarray(table(jax.random.fold_in(key, 0), 3, (D,))) for key in steps]
    for build, delays in (
        (jc.local.random_delays, common),
        (jc.local.coordinate_delays, own),
    ):
        delayed = pushed(build(KEY, 3, 5), updates)
        np.testing.assert_allclose(delayed, shift(np.asarray(updates), delays), atol=1e-6)
        assert len({str(d) for d in delays}) > 1
    never = pushed(jc.local.random_delays(KEY, 0, 5, draw=lambda *_: 9), updates)
    np.testing.assert_array_equal(never[5:], updates[:5])  # clipped to the maximum


def test_smaller_steps_for_later_gradients():
    u = jnp.ones(2)
    for rule, expected in (
        (None, 1 / 4),
        (jc.local.polynomial_staleness(0.5), 1 / 2),
        (jc.local.critical_staleness(2.0), 1 / 3),
        (jc.local.drop_stale(2), 0),
        (jc.local.drop_stale(3), 1),
    ):
        late = jc.local.scale_by_delay(rule)
        np.testing.assert_allclose(late.update(u, late.init(u), delay=3)[0], expected, rtol=1e-6)
    optimizer = optax.chain(jc.local.scale_by_delay(), optax.sgd(0.1))
    schedule = jc.theory.arrivals.round_robin(T, N)
    algorithm = jc.algorithms.asynchronous(loss, optimizer, schedule)
    weighed = jc.algorithms.asynchronous(
        loss, optax.sgd(0.1), schedule, weigh=lambda d: 1 / (1.0 + d)
    )
    params = jc.replicate(jnp.asarray(START), N)
    result, expected = (
        jc.params_of(jc.run(a, a.init(params), jc.data.stacked(data()), KEY)[0])
        for a in (algorithm, weighed)
    )
    np.testing.assert_allclose(result, expected, rtol=1e-6)
