"""Asynchronous learning and delays against plain Python simulations of events."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from tests.algorithms.delay_cases import KEY, START, D, N, T, data, loss


def slope(x, batch):
    a, y = batch["a"], batch["y"]
    return a.T @ (a @ x - y) / len(y)


def plain(clients, batches, *, rate=0.1, momentum=0.0, buffer_size=1, weigh=None, local=None):
    """A server and its clients as Python objects."""
    model, version, velocity = START.copy(), 0, np.zeros(D)
    fetched = [(model.copy(), 0) for _ in range(N)]
    waiting, models, delays = [], [], []
    for t, i in enumerate(clients):
        x, since = fetched[i]
        batch = {k: v[t, i] for k, v in batches.items()}
        if local is None:
            g = slope(x, batch)
        else:
            y = x.copy()
            for h in range(len(batch["y"])):
                y -= local * slope(y, {k: v[h] for k, v in batch.items()})
            g = x - y
        delay = version - since
        waiting.append(g * (weigh(delay) if weigh else 1))
        if len(waiting) == buffer_size:
            velocity = momentum * velocity + np.mean(waiting, 0)
            model, version, waiting = model - rate * velocity, version + 1, []
        fetched[i] = (model.copy(), version)
        models.append(model.copy())
        delays.append(delay)
    return np.array(models), np.array(delays)


CASES = {
    "plain": ({}, {}),
    "momentum": ({"momentum": 0.9}, {}),
    "FedBuff": (
        {"buffer_size": 3, "weigh": lambda d: (1 + d) ** -0.5},
        {"buffer_size": 3, "weigh": jc.local.polynomial_staleness()},
    ),
    "local steps": (
        {"local": 0.05, "rate": 0.7, "buffer_size": 2},
        {"local_optimizer": optax.sgd(0.05), "buffer_size": 2},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_scan_equals_a_python_simulation_step_for_step(name, x64):
    given, options = CASES[name]
    schedule = jc.theory.arrivals.simulate(
        KEY, T, np.linspace(0.5, 3, N), draw=jc.theory.arrivals.exponential()
    )
    batches = data(extra=(3,) if "local" in given else ())
    optimizer = optax.sgd(given.get("rate", 0.1), momentum=given.get("momentum"))
    algorithm = jc.with_metrics(
        jc.algorithms.asynchronous(loss, optimizer, schedule, **options),
        lambda state: {"model": state.shared.params},
    )
    state = algorithm.init(jc.replicate(jnp.asarray(START), N))
    state, log = jc.run(algorithm, state, jc.data.stacked(batches), KEY)
    models, delays = plain(np.asarray(schedule.client), batches, **given)
    np.testing.assert_allclose(log["model"], models, rtol=1e-12)
    np.testing.assert_array_equal(log["delay"], delays)
    np.testing.assert_array_equal(log["client"], schedule.client)
    np.testing.assert_allclose(jc.params_of(state)[0], models[-1], rtol=1e-12)
    if name == "plain":
        np.testing.assert_array_equal(delays, jc.theory.arrivals.delays_of(schedule.client, N))


def test_delay_zero_is_sgd():
    batches = jax.tree.map(jnp.asarray, data(n=1))
    params = jc.replicate(jnp.asarray(START), 1)

    def final(algorithm):
        return jc.params_of(
            jc.run(algorithm, algorithm.init(params), jc.data.stacked(batches), KEY)[0]
        )[0]

    sgd = optax.sgd(0.1, momentum=0.9)
    expected = final(jc.centralized(loss, sgd))
    result = final(jc.algorithms.asynchronous(loss, sgd, np.zeros(T, int)))
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    for late in (
        jc.local.delay_updates(0, maximum=3),
        jc.local.random_delays(KEY, 0, maximum=3),
        jc.local.coordinate_delays(KEY, 0, maximum=3),
    ):
        for chain in (optax.chain(sgd, late), optax.chain(late, sgd)):
            np.testing.assert_allclose(final(jc.centralized(loss, chain)), expected, rtol=1e-6)

    @jax.jit
    def traced(d):
        return final(jc.centralized(loss, optax.chain(jc.local.delay_updates(d, 3), sgd)))

    np.testing.assert_allclose(traced(0), expected, rtol=1e-6)
    assert np.abs(traced(1) - expected).max() > 0.01


def test_relabeled_clients_and_the_arriving_clients_batch_alone():
    schedule = jc.theory.arrivals.simulate(KEY, T, np.linspace(0.5, 3, N))
    batches, params = data(), jc.replicate(jnp.asarray(START), N)

    def final(schedule, batches):
        algorithm = jc.algorithms.asynchronous(loss, optax.sgd(0.1), schedule)
        return jc.params_of(
            jc.run(algorithm, algorithm.init(params), jc.data.stacked(batches), KEY)[0]
        )

    expected = final(schedule, batches)
    new = np.array([2, 0, 3, 1])  # client i becomes new[i]
    moved = schedule._replace(client=new[np.asarray(schedule.client)])
    old = np.argsort(new)
    relabeled = final(moved, jax.tree.map(lambda leaf: leaf[:, old], batches))
    np.testing.assert_allclose(relabeled, expected, rtol=1e-6)
    alone = jax.tree.map(lambda leaf: leaf[np.arange(T), schedule.client][:, None], batches)
    np.testing.assert_allclose(final(schedule, alone), expected, rtol=1e-6)


def test_a_delay_is_a_ring_of_equal_clients(x64):
    """delay_updates on a deterministic problem = round robin of d + 1 clients, d traced."""
    value = {"a": np.eye(D)[None, None] * np.ones((T, 1, 1, 1)), "y": np.zeros((T, 1, D))}
    params = jc.replicate(jnp.asarray(START), 5)

    def ring(d):
        algorithm = jc.algorithms.asynchronous(
            loss, optax.sgd(0.2), jc.theory.arrivals.round_robin(T, d + 1)
        )
        state, log = jc.run(algorithm, algorithm.init(params), jc.data.stacked(value), KEY)
        return jc.params_of(state)[0], log["delay"]

    models, delays = jax.jit(jax.vmap(ring))(jnp.arange(5))
    for d in range(5):
        optimizer = optax.chain(optax.sgd(0.2), jc.local.delay_updates(d, first="repeat"))
        algorithm = jc.centralized(loss, optimizer)
        state, _ = jc.run(algorithm, algorithm.init(params[:1]), jc.data.stacked(value), KEY)
        np.testing.assert_allclose(models[d], jc.params_of(state)[0], rtol=1e-12)
        assert set(np.asarray(delays[d, 4:])) == {d}


def test_nobody_comes_once_everybody_has_left():
    """With traced arguments the schedule ends in -1, and nothing changes from there on."""
    schedule = jax.jit(
        lambda leaves: jc.theory.arrivals.simulate(KEY, 6, np.ones(2), leaves=leaves)
    )(jnp.array([2.0, 1.0]))
    assert np.asarray(schedule.client).tolist() == [0, 1, 0, -1, -1, -1]

    def final(rounds):
        algorithm = jc.algorithms.asynchronous(loss, optax.sgd(0.1), schedule)
        batches = jax.tree.map(lambda leaf: leaf[:rounds], data(n=2))
        state = algorithm.init(jc.replicate(jnp.asarray(START), 2))
        return jc.run(algorithm, state, jc.data.stacked(batches), KEY)[0]

    three, six = final(3), final(6)
    np.testing.assert_allclose(three.shared.params, six.shared.params, rtol=1e-6)
    np.testing.assert_allclose(three.clients.model, six.clients.model, rtol=1e-6)
    assert three.shared.version == six.shared.version == 3


BAD = [
    (lambda: jc.local.delay_updates(-1), ValueError, "delay must be at least 0, got -1"),
    (lambda: jc.local.delay_updates(4, 3), ValueError, r"delay must be in 0..3, got 4"),
    (lambda: jc.local.delay_updates(1.5), TypeError, "delay must be an integer, got 1.5"),
    (lambda: jc.local.delay_updates(1, -1), ValueError, "maximum must be at least 0, got -1"),
    (lambda: jc.local.delay_updates(1, first="x"), ValueError, "first must be one of wait, repeat"),
    (
        lambda: jax.vmap(lambda d: jc.local.delay_updates(d).init(d))(jnp.arange(2)),
        ValueError,
        "maximum must be given for a traced delay",
    ),
    (lambda: jc.local.random_delays(KEY, -1), ValueError, "delay must be at least 0"),
    (lambda: jc.local.coordinate_delays(KEY, 1, draw=3), TypeError, "draw must be a function"),
    (lambda: jc.local.scale_by_delay(2.0), TypeError, "rule must be a function"),
    (
        lambda: jc.local.scale_by_delay().update(1.0, ()),
        TypeError,
        "delay must be given to scale_by_delay",
    ),
    (
        lambda: jax.jit(lambda d: jc.local.delay_updates(1, d).init(d))(2),
        TypeError,
        "maximum must be known when the program is traced",
    ),
    (lambda: jc.local.critical_staleness(-1.0), ValueError, "noise_ratio must be at least 0"),
    (
        lambda: jc.theory.arrivals.simulate(KEY, 0, np.ones(2)),
        ValueError,
        "num_arrivals must be at least",
    ),
    (
        lambda: jc.theory.arrivals.simulate(KEY, 3, [1.0, 0.0]),
        ValueError,
        "compute_time must be finite and positive",
    ),
    (
        lambda: jc.theory.arrivals.simulate(KEY, 3, []),
        ValueError,
        r"compute_time must have shape \[n\]",
    ),
    (
        lambda: jc.theory.arrivals.simulate(KEY, 3, [1.0], link_time=-1.0),
        ValueError,
        "link_time must be finite and at least 0",
    ),
    (
        lambda: jc.theory.arrivals.simulate(KEY, 9, [1.0, 2.0], leaves=3.0),
        ValueError,
        "num_arrivals must be at most 4",
    ),
    (
        lambda: jc.theory.arrivals.simulate(KEY, 3, [1.0], joins=2.0, leaves=1.0),
        ValueError,
        "leaves must",
    ),
    (lambda: jc.theory.arrivals.round_robin(3, 0), ValueError, "n must be at least 1, got 0"),
    (
        lambda: jc.theory.arrivals.straggling(1.5, 2.0),
        ValueError,
        r"probability must be in \[0, 1\]",
    ),
    (lambda: jc.theory.arrivals.gamma(0.0), ValueError, "shape must be finite and positive"),
    (
        lambda: jc.algorithms.asynchronous(loss, optax.sgd(0.1), []),
        (ValueError, TypeError),
        "arrivals must",
    ),
    (
        lambda: jc.algorithms.asynchronous(loss, optax.sgd(0.1), np.zeros(0, int)),
        ValueError,
        "arrivals must have shape",
    ),
    (
        lambda: jc.algorithms.asynchronous(loss, optax.sgd(0.1), np.array([0, 7])).init(
            jnp.ones((4, D))
        ),
        ValueError,
        r"arrivals must have clients in -1..3, got 0..7",
    ),
    (
        lambda: jc.algorithms.asynchronous(loss, optax.sgd(0.1), np.array([-2, 0])),
        ValueError,
        "arrivals must have clients in -1..",
    ),
    (
        lambda: jc.algorithms.asynchronous(loss, optax.sgd(0.1), np.zeros(3, int), buffer_size=0),
        ValueError,
        "buffer_size must be at least 1, got 0",
    ),
    (
        lambda: jc.algorithms.asynchronous(loss, optax.sgd(0.1), np.zeros(3, int), weigh=0.5),
        TypeError,
        "weigh must be a function",
    ),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input(case):
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        call()
