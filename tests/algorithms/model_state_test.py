"""What becomes of the state of models, compared with loops over clients in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

N, D, H, T, RATE = 4, 3, 2, 3, 0.1
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PARAMS, STATES = RNG.normal(size=(2, N, D)).astype(np.float32)
BATCHES = RNG.normal(size=(T, N, H, D)).astype(np.float32)
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0])
WAYS = "average", "keep", "freeze"


@jc.stateful
def loss(params, s, batch, key):
    """A running mean of the batches is taken off before the parameters are compared with them."""
    return 0.5 * jnp.sum((params - (batch - s)) ** 2), 0.8 * s + 0.2 * batch, {"size": s.sum()}


def one_step(x, s, b, how):
    """Update of the parameters, and the new state, of one client."""
    return -RATE * (x - (b - s)), s if how == "freeze" else 0.8 * s + 0.2 * b


def trained(algorithm, batches, rounds=T):
    state = algorithm.init(jnp.array(PARAMS), jnp.array(STATES))
    update = jax.jit(algorithm.update)
    for t in range(rounds):
        state, _ = update(state, jax.tree.map(jnp.asarray, batches[t]), jax.random.fold_in(KEY, t))
    return state


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("how", WAYS)
def test_federated(how):
    """Weighted, with two local steps, a method with memory and sampled clients."""
    algorithm = jc.federated(
        loss, optax.sgd(RATE), local_steps=H, num_sampled=1, weights=WEIGHTS, model_state=how
    )
    choose = algorithm.cohort.choose
    x, s, own = PARAMS.mean(0), STATES.mean(0), STATES.copy()
    sampled = set()
    for t in range(T):
        round_key = jax.random.split(jax.random.fold_in(KEY, t))[0]
        chosen = np.asarray(choose(round_key, N))
        sampled |= set(chosen.tolist())
        moves, changes = np.zeros(D), np.zeros(D)
        for i in chosen:
            y, z = x.copy(), (s if how == "average" else own[i]).copy()
            for h in range(H):
                u, z = one_step(y, z, BATCHES[t, i, h], how)
                y = y + u
            moves, changes = moves + WEIGHTS[i] * (y - x), changes + WEIGHTS[i] * (z - s)
            own[i] = z
        x = x + moves / WEIGHTS[chosen].sum()
        s = s + changes / WEIGHTS[chosen].sum()
    state = trained(algorithm, BATCHES)
    close(state.shared.params, x)
    assert len(sampled) < N  # some client was never sampled, and has its first state
    if how == "average":
        close(jc.core.model_state_of(state), s[None])
    else:
        close(state.clients.model_state, own)
    # the server's model is evaluated with the state, or with that of each client
    labels = np.array([0, 1, 2, 0, 1])
    inputs = RNG.normal(size=(5, D)).astype(np.float32)
    predict = jc.stateful(lambda params, s, inputs: inputs * params - s)
    measured = jc.metrics.accuracy(predict, inputs, labels)(state)
    states = s[None] if how == "average" else own
    each = [((inputs * x - z).argmax(1) == labels).mean() for z in states]
    close(measured["client_accuracy"], each)
    close(measured["mean_accuracy"], np.mean(each))
    mean = ((inputs * x - states.mean(0)).argmax(1) == labels).mean()
    close(measured["averaged_model_accuracy"], mean)


def test_federated_of_one_model_and_through_a_rule():
    """``num_clients`` replicates a state that clients keep; a rule sees update and change."""
    for how in ("average", "keep"):
        one = jc.federated(loss, optax.sgd(RATE), num_clients=N, model_state=how)
        alike = jc.federated(loss, optax.sgd(RATE), model_state=how)
        repeated = jc.replicate((PARAMS[0], STATES[0]), N)
        jax.tree.map(close, one.init(PARAMS[0], STATES[0]), alike.init(*repeated))
    seen = []

    @jc.aggregators.rule
    def median(own, messages, weights, context):
        seen.append(jax.tree.map(jnp.shape, messages))
        return jax.tree.map(lambda leaf: jnp.median(leaf, 0), messages)

    robust = jc.federated(loss, optax.sgd(RATE), rule=median)
    state = trained(robust, BATCHES[:, :, :1], 1)
    assert seen[-1] == jc.core.Model((N, D), (N, D))
    s = STATES.mean(0)
    close(state.shared.model_state, s + np.median(0.2 * (BATCHES[0, :, 0] - s), 0))


def gossiped(mixed, how, x, s, batch, rate=RATE):
    """``x + u`` and the state, mixed where it is averaged."""
    steps = [one_step(x[i], s[i], batch[i], how) for i in range(N)]
    moved, new = x + np.stack([u for u, _ in steps]), np.stack([z for _, z in steps])
    return mixed(moved), mixed(new) if how == "average" else new


@pytest.mark.parametrize("how", WAYS)
def test_decentralized(how):
    ring = jc.topology.ring(N)
    w = np.asarray(jc.topology.mixing_matrix(ring))
    batches = BATCHES[:, :, 0]
    x, s = PARAMS, STATES
    for t in range(T):
        x, s = gossiped(lambda v: w @ v, how, x, s, batches[t])
    state = trained(
        jc.decentralized(loss, optax.sgd(RATE), jc.gossip(ring), model_state=how), batches
    )
    close(state.clients.params, x)
    close(state.clients.model_state, s)
    # a = 0 mixes what the step changes, and an overlapped exchange what was there before
    for options, share in (({"mixing_weight": 0.0}, 0), ({"overlap": True}, 1)):
        algorithm = jc.decentralized(
            loss, optax.sgd(RATE), jc.gossip(ring), model_state=how, **options
        )
        state = trained(algorithm, batches, 1)
        steps = [one_step(PARAMS[i], STATES[i], batches[0, i], how) for i in range(N)]
        change = np.stack([z for _, z in steps]) - STATES
        expected = w @ STATES + change if share else STATES + w @ change
        close(state.clients.model_state, expected if how == "average" else STATES + change)


LINEAR = {
    "d2": jc.algorithms.d2,
    "exact diffusion": jc.algorithms.exact_diffusion,
    "gradient tracking": jc.algorithms.gradient_tracking,
    "quasi-global": lambda f, o, m, **k: jc.algorithms.quasi_global_momentum(f, RATE, m, **k),
    "apfl": jc.algorithms.apfl,
    "relay": lambda f, o, m, **k: jc.decentralized(f, o, jc.relay_sum(jc.topology.chain(N)), **k),
}


@pytest.mark.parametrize("name", LINEAR)
def test_every_builder_without_a_server(name):
    """Kept states are those of a client alone, frozen ones the first, averaged ones come closer."""
    batches = BATCHES[:, :, 0]
    alone = STATES
    for t in range(2):
        alone = 0.8 * alone + 0.2 * batches[t]
    for how, expected in (("keep", alone), ("freeze", STATES), ("average", None)):
        algorithm = LINEAR[name](
            loss, optax.sgd(RATE), jc.gossip(jc.topology.chain(N)), model_state=how
        )
        got = np.asarray(trained(algorithm, batches, 2).clients.model_state)
        if expected is not None:
            close(got, expected)
            continue
        apart = [np.square(v - v.mean(0)).sum() for v in (got, alone)]
        assert apart[0] < 0.7 * apart[1]
        if name != "relay":  # whose first rounds do not keep the mean
            close(got.mean(0), alone.mean(0))


@pytest.mark.parametrize("how", WAYS)
def test_one_model(how):
    """The mean gradient and, where it is averaged, the mean state; arrivals hand in changes."""
    batches = BATCHES[:, :, 0]
    x, s = PARAMS.mean(0), STATES.mean(0)
    own = np.stack([s] * N) if how == "average" else STATES
    for t in range(T):
        steps = [one_step(x, own[i], batches[t, i], how) for i in range(N)]
        x, own = x + np.mean([u for u, _ in steps], 0), np.stack([z for _, z in steps])
        own = np.stack([own.mean(0)] * N) if how == "average" else own
    for algorithm in (
        jc.centralized(loss, optax.sgd(RATE), model_state=how),
        jc.algorithms.grad_align(loss, optax.sgd(RATE), 0.0, model_state=how),
    ):
        state = trained(algorithm, batches)
        close(state.shared.params, x)
        close(jc.core.model_state_of(state), own[:1] if how == "average" else own)

    order, size = [0, 2, 1, 2, 0, 0], 2
    x, s = PARAMS.mean(0), STATES.mean(0)
    models = [x] * N
    own = [s] * N if how == "average" else list(STATES)
    moves, changes = np.zeros(D), np.zeros(D)
    for t, i in enumerate(order):
        u, z = one_step(models[i], own[i], batches[t % T, i], how)
        moves, changes, own[i] = moves + u, changes + (z - own[i]), z
        if t % size == size - 1:
            x, s = x + moves / size, s + changes / size
            moves, changes = np.zeros(D), np.zeros(D)
        models[i] = x
        if how == "average":
            own[i] = s
    algorithm = jc.algorithms.asynchronous(
        loss, optax.sgd(RATE), order, buffer_size=size, model_state=how
    )
    state = trained(algorithm, [batches[t % T] for t in range(len(order))], len(order))
    close(state.shared.params, x)
    close(state.clients.model_state, np.stack(own))
    if how == "average":
        close(jc.core.model_state_of(state), s[None])


def test_fine_tuning_begins_with_the_state_of_the_server():
    state = jc.federated(loss, optax.sgd(RATE)).init(jnp.array(PARAMS), jnp.array(STATES))
    tuning = jc.algorithms.fine_tuning(loss, optax.sgd(RATE), n=N, model_state="freeze")
    start = tuning.init(state)
    close(start.clients.model_state, np.stack([STATES.mean(0)] * N))
    end, _ = tuning.update(start, jnp.array(BATCHES[0, :, 0]), KEY)
    close(end.clients.model_state, start.clients.model_state)


def test_what_cannot_be_averaged():
    counts = jnp.zeros(N, jnp.int32)
    algorithm = jc.federated(loss, optax.sgd(RATE))
    with pytest.raises(TypeError, match=r"model_state\['count'\] must be an array of floats"):
        algorithm.init(jnp.array(PARAMS), {"count": counts})
    for build in (jc.centralized, jc.federated):
        with pytest.raises(ValueError, match="model_state must be one of average, keep, freeze"):
            build(loss, optax.sgd(RATE), model_state="fedbn")
    with pytest.raises(ValueError, match="model_state must be one of keep, freeze"):
        jc.algorithms.fine_tuning(loss, optax.sgd(RATE), model_state="average")
