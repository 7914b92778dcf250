"""D-BAT: against a plain loop over members, and what must hold of any ensemble."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

M, B, D, ROUNDS = 3, 4, 2, 3
KEY = jax.random.key(0)


def predict(params, x):
    return (x @ params["w"] + params["b"])[:, None]


def loss(params, batch, key):
    noise = 0.1 * jax.random.normal(key, batch["y"].shape)  # shows who draws with which key
    logits = predict(params, batch["x"])[:, 0] + noise
    return optax.sigmoid_binary_cross_entropy(logits, batch["y"]).mean()


def problem(rounds=M * ROUNDS, n=M):
    rng = np.random.default_rng(0)
    batches = {
        "x": rng.normal(size=(rounds, n, B, D)),
        "y": rng.integers(0, 2, (rounds, n, B)).astype(float),
        "unlabeled": rng.normal(size=(rounds, n, B + 1, D)),
    }
    params = {"w": rng.normal(size=(n, D)), "b": rng.normal(size=n)}
    return jax.tree.map(jnp.asarray, (params, batches))


def train(algorithm, params, batches):
    return jc.run(algorithm, algorithm.init(params), jc.data.stacked(batches), KEY)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def agreement_and_slope(z, others, eps=1e-7):
    """Mean over the other members of -log(p (1 - q) + (1 - p) q + eps), and d/dz of its mean."""
    p, value, slope = sigmoid(z), 0.0, np.zeros_like(z)
    for other in others:
        q = sigmoid(other)
        mass = p * (1 - q) + (1 - p) * q + eps
        value += -np.log(mass).mean() / len(others)
        slope += -(1 - 2 * q) / mass * p * (1 - p) / len(z) / len(others)
    return value, slope


def test_members_follow_a_plain_loop(x64):
    """Momentum, so that optimizer states must be their own; the last member goes on at the end."""
    alpha, rate, momentum = 0.7, 0.5, 0.9
    params, batches = problem(M * ROUNDS + 2)
    algorithm = jc.dbat(
        loss, predict, optax.sgd(rate, momentum=momentum), alpha=alpha, member_rounds=ROUNDS
    )
    state, log = train(algorithm, params, batches)
    w, b = np.array(params["w"]), np.array(params["b"])
    trace = np.zeros((M, D + 1))
    for t in range(M * ROUNDS + 2):
        m = min(t // ROUNDS, M - 1)
        x, y, u = (np.asarray(batches[name][t, m]) for name in ("x", "y", "unlabeled"))
        update_key = jax.random.split(jax.random.fold_in(KEY, t))[1]
        key = jax.random.fold_in(jax.random.split(update_key)[0], m)
        z = x @ w[m] + b[m] + 0.1 * np.asarray(jax.random.normal(key, y.shape))
        by_z = (sigmoid(z) - y) / B
        value, slope = agreement_and_slope(u @ w[m] + b[m], [u @ w[i] + b[i] for i in range(m)])
        task = np.mean(np.logaddexp(0, z) - y * z)
        np.testing.assert_allclose(log["task_loss"][t], task, rtol=1e-9)
        np.testing.assert_allclose(log["agreement"][t], value, rtol=1e-9)
        np.testing.assert_allclose(log["loss"][t], task + alpha * value, rtol=1e-9)
        assert log["member"][t] == m
        gradient = np.append(by_z @ x + alpha * slope @ u, by_z.sum() + alpha * slope.sum())
        trace[m] = momentum * trace[m] + gradient
        w[m], b[m] = w[m] - rate * trace[m, :D], b[m] - rate * trace[m, D]
    np.testing.assert_allclose(state.clients.params["w"], w, rtol=1e-9)
    np.testing.assert_allclose(state.clients.params["b"], b, rtol=1e-9)


@pytest.mark.parametrize("against", ["predecessors", "others", "weights"])
def test_clients_follow_a_plain_loop(against, x64):
    alpha, rate, warmup = 0.7, 0.5, 1
    params, batches = problem(3)
    weights = {
        "predecessors": np.tril(np.ones((M, M)), -1),
        "others": 1 - np.eye(M),
        "weights": np.array([[0.5, 0.2, 0.3], [0, 1.0, 0], [1, 3, 2.0]]),
    }[against]
    algorithm = jc.algorithms.collaborative_dbat(
        loss,
        predict,
        optax.sgd(rate),
        alpha=alpha,
        public=lambda batch: batch["unlabeled"][0],
        against=weights if against == "weights" else against,
        warmup=warmup,
    )
    state, log = train(algorithm, params, batches)
    w, b = np.array(params["w"]), np.array(params["b"])
    for t in range(3):
        u = np.asarray(batches["unlabeled"][t, 0])
        logits = u @ w.T + b  # [U, n]
        update_key = jax.random.split(jax.random.fold_in(KEY, t))[1]
        keys = jc.layout.client_keys(jax.random.split(update_key)[0], M)
        agreements = []
        for i in range(M):
            x, y = (np.asarray(batches[name][t, i]) for name in ("x", "y"))
            noise = 0.1 * np.asarray(jax.random.normal(keys[i], y.shape))
            by_z = (sigmoid(x @ w[i] + b[i] + noise) - y) / B
            value, slope = 0.0, 0.0
            row = [0 if j == i else weights[i, j] for j in range(M)]
            for j in range(M):
                if row[j]:
                    pair = agreement_and_slope(logits[:, i], [logits[:, j]])
                    value, slope = (
                        old + row[j] / sum(row) * new
                        for old, new in zip((value, slope), pair, strict=True)
                    )
            agreements.append(value)
            slope = slope * alpha * (t >= warmup) + np.zeros(B + 1)
            w[i] -= rate * (by_z @ x + slope @ u)
            b[i] -= rate * (by_z.sum() + slope.sum())
        np.testing.assert_allclose(log["agreement"][t], np.mean(agreements), rtol=1e-9)
    np.testing.assert_allclose(state.clients.params["w"], w, rtol=1e-9)
    np.testing.assert_allclose(state.clients.params["b"], b, rtol=1e-9)
    assert log["bytes_sent"][0] == (B + 1) * 8


def test_without_alpha_members_are_those_of_a_deep_ensemble():
    """Whatever the unlabeled points are, and whatever is searched for."""
    params, batches = problem(M * ROUNDS)
    optimizer = optax.adam(0.1)
    search = jc.objectives.disagreement_points(num_steps=2)
    algorithm = jc.dbat(
        loss, predict, optimizer, alpha=0.0, member_rounds=ROUNDS, search=search, epsilon=None
    )
    state, _ = train(algorithm, params, batches)
    alone = jc.decentralized(loss, optimizer, jc.identity())
    for m in range(M):
        # the rounds in which the member was trained, under the same round numbers
        start = alone.init(params)._replace(step=jnp.int32(m * ROUNDS))
        own, _ = jc.run(alone, start, jc.data.stacked(batches), KEY, num_rounds=ROUNDS)
        rows = (jax.tree.map(lambda leaf: leaf[m], s.clients.params) for s in (state, own))  # noqa: B023
        chex.assert_trees_all_close(*rows, rtol=1e-6)
    others = train(algorithm, params, batches | {"unlabeled": 1 - batches["unlabeled"]})[0]
    chex.assert_trees_all_equal(others, state)


def test_several_ensembles_are_one_program():
    params, batches = problem()
    alphas = jnp.array([0.0, 0.5])

    def build(settings):
        return jc.dbat(loss, predict, optax.sgd(0.1), alpha=settings, member_rounds=ROUNDS)

    one = build(0.0).init(params)
    result = jc.fit(
        build,
        jc.replicate(one, 2),
        jc.data.stacked(batches),
        jnp.stack([KEY, KEY]),
        num_rounds=M * ROUNDS,
        replicas=jc.training.Replicas(alphas),
        listeners=(),
    )
    for i, alpha in enumerate(alphas):
        alone, _ = train(build(float(alpha)), params, batches)
        own = jax.tree.map(lambda leaf: leaf[i], result.state)  # noqa: B023
        chex.assert_trees_all_close(own, alone, rtol=1e-5)


def test_what_a_model_carries_comes_from_both_batches():
    """The trained member sees the labeled batch first, then the points; frozen ones do not."""
    params, batches = problem()

    def counting(params, model_state, batch, key):
        return loss(params, batch, key), model_state + 1, {}

    def carried(params, model_state, x, key):
        return predict(params, x), 10 * model_state

    algorithm = jc.dbat(
        jc.stateful(counting),
        jc.stateful(lambda params, model_state, x: predict(params, x) + model_state),
        optax.sgd(0.1),
        alpha=0.5,
        member_rounds=1,
        train=jc.stateful(carried),
    )
    state = algorithm.init(params, jnp.array([1.0, 2.0, 3.0]))
    state, _ = jc.run(algorithm, state, jc.data.stacked(batches), KEY, num_rounds=2)
    np.testing.assert_array_equal(state.clients.model_state, [2, 30, 3])


def test_searched_points_replace_those_of_the_batch():
    params, batches = problem(2)
    seen = []

    def search(disagreement, x, key):
        seen.append(jax.eval_shape(disagreement, x).shape)
        return jnp.zeros_like(x)

    algorithm = jc.dbat(
        loss, predict, optax.sgd(0.0), alpha=1.0, member_rounds=1, search=search, epsilon=None
    )
    _, log = train(algorithm, params, batches)
    p, q = params["b"][1], params["b"][0]
    expected = jc.objectives.pair_agreement(p[None], q[None], epsilon=None)
    np.testing.assert_allclose(log["agreement"][1], expected, rtol=1e-5)
    assert set(seen) == {()}


def test_bad_input_is_named():
    def build(loss=loss, predict=predict, **options):
        options = {"alpha": 1.0, "member_rounds": 1} | options
        return jc.dbat(loss, predict, optax.sgd(0.1), **options)

    def together(**options):
        options = {"alpha": 1.0, "public": lambda batch: batch["x"][0]} | options
        return jc.algorithms.collaborative_dbat(loss, predict, optax.sgd(0.1), **options)

    with pytest.raises(ValueError, match="alpha must be at least 0, got -1"):
        build(alpha=-1)
    with pytest.raises(ValueError, match="member_rounds must be at least 1, got 0"):
        build(member_rounds=0)
    with pytest.raises(ValueError, match="anchor must be one of frozen, trained, got 'v2'"):
        build(anchor="v2")
    with pytest.raises(ValueError, match="epsilon must be at least 0, got -1"):
        build(epsilon=-1)
    with pytest.raises(TypeError, match="loss must be a function, got float"):
        build(loss=0.5)
    with pytest.raises(TypeError, match="search must be a function, got str"):
        build(search="sign")
    with pytest.raises(TypeError, match="predict must be a function, got int"):
        build(predict=3)
    with pytest.raises(ValueError, match="warmup must be at least 0, got -1"):
        together(warmup=-1)
    with pytest.raises(ValueError, match="against must be one of predecessors, others, got 'all'"):
        together(against="all")
    with pytest.raises(ValueError, match=r"weights \[n=n, n\], got shape \[2, 3\]"):
        together(against=np.ones((2, 3)))
    with pytest.raises(ValueError, match="against must be at least 0, got"):
        together(against=-np.ones((2, 2)))
    params, batches = problem(1)
    with pytest.raises(ValueError, match=r"weights \[n=3, n\], got shape \[2, 2\]"):
        train(together(against=np.ones((2, 2))), params, batches)
