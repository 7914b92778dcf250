"""Personal averages and personal models against loops over clients in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.theory import averaging

KEY = jax.random.key(0)
N, D, T = 5, 3, 4
COUNTS = np.array([3.0, 1, 4, 1, 5])
rng = np.random.default_rng(0)


def drive(mixer, values):
    """Outputs of a mixer for a list of inputs, and its last state."""
    state = mixer.init(values[0])
    update = jax.jit(lambda x, s, step: mixer.update(x, s, jc.core.Round(KEY, step)))
    outputs = []
    for t, x in enumerate(values):
        out, state = update(x, state, jnp.int32(t))
        outputs.append(out)
    return outputs, state


def tree(x):
    """A vector per client as a pytree."""
    return {"b": jnp.asarray(x[:, 0]), "w": jnp.asarray(x[:, 1:].reshape(len(x), -1, 1))}


def flat(x):
    return np.concatenate([np.asarray(x["b"])[:, None], np.asarray(x["w"])[..., 0]], 1)


@pytest.mark.parametrize("counts", [None, COUNTS])
@pytest.mark.parametrize("weight", [0.0, 0.3, np.linspace(0, 1, N)])
def test_fixed_weights_equal_a_loop_over_clients(x64, weight, counts):
    x = rng.normal(size=(N, D))
    (mixed,), state = drive(jc.personal_average(weight, counts=counts), [tree(x)])
    a, c = np.broadcast_to(weight, N), np.ones(N) if counts is None else counts
    for i in range(N):
        others = [j for j in range(N) if j != i]
        mean = sum(c[j] * x[j] for j in others) / sum(c[j] for j in others)
        np.testing.assert_allclose(flat(mixed)[i], (1 - a[i]) * x[i] + a[i] * mean, atol=1e-12)
    np.testing.assert_array_equal(state.weight, a)


@pytest.mark.parametrize("name", averaging.RULES)
def test_plug_in_weights_equal_a_loop_over_clients(x64, name):
    rule, x, v = averaging.RULES[name], rng.normal(size=(N, D)), rng.exponential(size=N)
    mixer = jc.personal_average(rule, variance=v, counts=COUNTS)
    (mixed,), state = drive(mixer, [tree(x)])
    for i in range(N):
        others = [j for j in range(N) if j != i]
        total = sum(COUNTS[j] for j in others)
        mean = sum(COUNTS[j] * x[j] for j in others) / total
        v_others = sum(COUNTS[j] ** 2 * v[j] for j in others) / total**2
        a = rule(float(np.sum((mean - x[i]) ** 2)), v[i], v_others)
        np.testing.assert_allclose(state.weight[i], a, atol=1e-12)
        np.testing.assert_allclose(flat(mixed)[i], (1 - a) * x[i] + a * mean, atol=1e-12)
    assert state.weight.min() > 0 or name == "pre-test"


def test_an_oracle_knows_the_bias(x64):
    x, v, bias = rng.normal(size=(N, D)), rng.exponential(size=N), rng.exponential(size=N)
    _, state = drive(jc.personal_average(averaging.oracle(bias), variance=v), [tree(x)])
    best = averaging.optimal_weight(v, averaging.others_variance(v), bias)
    np.testing.assert_allclose(state.weight, best, atol=1e-12)
    shared = averaging.shared_weight(averaging.positive_part)
    _, state = drive(jc.personal_average(shared, variance=v), [tree(x)])
    assert np.ptp(state.weight) == 0 < state.weight.min()


def test_variances_are_estimated_from_what_is_exchanged(x64):
    values, beta = rng.normal(size=(T, N, D)), 0.6
    rule = averaging.naive
    outputs, state = drive(jc.personal_average(rule, memory=beta), list(map(tree, values)))
    np.testing.assert_array_equal(flat(outputs[0]), values[0])  # alone until something is known
    v, norm = np.zeros(N), 0.0
    for t in range(1, T):
        v = beta * v + (1 - beta) * ((values[t] - values[t - 1]) ** 2).sum(1) / 2
        norm = beta * norm + 1 - beta
        for i in range(N):
            mean = np.delete(values[t], i, 0).mean(0)
            v_others = np.delete(v / norm, i).sum() / (N - 1) ** 2
            a = rule(float(np.sum((mean - values[t, i]) ** 2)), v[i] / norm, v_others)
            expected = (1 - a) * values[t, i] + a * mean
            np.testing.assert_allclose(flat(outputs[t])[i], expected, atol=1e-12)
    # the estimate is that of the variance, summed over coordinates
    stream = list(jnp.asarray(rng.normal(0, 2.0, size=(400, N, 100))))
    _, state = drive(jc.personal_average(rule, memory=0.99), stream)
    np.testing.assert_allclose(state.variance / state.total, 400, rtol=0.05)


def test_the_common_mean_and_the_learner_alone():
    x = jnp.asarray(rng.normal(size=(N, D)), jnp.float32)
    (mixed,), _ = drive(jc.personal_average((N - 1) / N), [x])
    np.testing.assert_allclose(mixed, np.broadcast_to(x.mean(0), x.shape), atol=1e-6)
    weight = averaging.pooled_weight(COUNTS, COUNTS.sum() - COUNTS)
    (mixed,), _ = drive(jc.personal_average(weight, counts=COUNTS), [x])
    mean = np.average(x, 0, COUNTS)
    np.testing.assert_allclose(mixed, np.broadcast_to(mean, x.shape), atol=1e-6)
    # who is alone is not harmed by one that diverged, and a rule keeps everybody alone
    broken = x.at[0, 0].set(jnp.inf)
    for weight, options in ((0.0, {}), (averaging.naive, {"variance": 1.0})):
        (mixed,), state = drive(jc.personal_average(weight, **options), [broken])
        np.testing.assert_array_equal(mixed, broken)
        assert not state.weight.any()


def test_it_composes_and_sweeps():
    x = {"body": jnp.arange(4.0), "head": jnp.arange(8.0).reshape(4, 2)}
    mixer = jc.mix_every(
        2, jc.mix_only(lambda path, leaf: path == "body", jc.personal_average(0.5))
    )
    first, second = drive(mixer, [x, x])[0]
    np.testing.assert_array_equal(first["body"], x["body"])
    expected = 0.5 * np.arange(4) + 0.5 * (6 - np.arange(4)) / 3
    np.testing.assert_allclose(second["body"], expected, rtol=1e-6)
    np.testing.assert_array_equal(second["head"], x["head"])
    assert jc.metrics.bytes_sent(mixer, x).tolist() == [2.0] * 4

    def spread(weight):
        mixer = jc.personal_average(weight)
        return jnp.ptp(mixer.update(x, mixer.init(x), jc.core.Round(KEY, 0))[0]["body"])

    levels = jax.jit(jax.vmap(spread))(jnp.array([0.0, 0.25, 0.5, 0.75]))
    np.testing.assert_allclose(levels, [3, 2, 1, 0], atol=1e-6)


def test_bfloat16_is_averaged_in_float32():
    x = jnp.asarray(rng.normal(1, 0.1, (64, 5)), jnp.bfloat16)
    mixer = jc.personal_average(63 / 64)
    (mixed,), _ = drive(mixer, [x])
    assert mixed.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float32).mean(0)
    np.testing.assert_allclose(np.asarray(mixed, np.float32), np.tile(exact, (64, 1)), rtol=4e-3)


def test_collaboration_is_a_matrix_product(x64):
    x = rng.normal(size=(N, D))
    matrix = rng.normal(size=(N, N))
    matrix /= matrix.sum(1, keepdims=True)
    matrix[0] = np.eye(N)[0]
    (mixed,), _ = drive(jc.mixing.collaboration(matrix), [tree(x)])
    np.testing.assert_allclose(flat(mixed), matrix @ x, atol=1e-10)
    sent = jc.metrics.bytes_sent(jc.mixing.collaboration(matrix), tree(x))
    assert sent.tolist() == [32 * D] + [24 * D] * (N - 1)  # nobody sends to client 0
    # the best weights of many nodes, one row for each client
    v, targets = rng.exponential(size=N), rng.normal(size=N)
    rows = averaging.multi_node_weights(v, targets - targets[:, None])
    risks = averaging.multi_node_risk(rows, v, targets - targets[:, None])
    noisy = targets + np.sqrt(v) * rng.normal(size=(20_000, N))
    (mixed,), _ = drive(jc.mixing.collaboration(rows), [jnp.asarray(noisy.T)])
    measured = np.mean((np.asarray(mixed) - targets[:, None]) ** 2, 1)
    np.testing.assert_allclose(measured, risks, rtol=0.05)
    assert (risks < v).all()


def quadratic(params, batch, key):
    return 0.5 * jnp.sum(batch["h"] * (params - batch["c"]) ** 2), {"norm": jnp.sum(params**2)}


def test_bad_input_is_named():
    def refuses(message, fn, *args, **kwargs):
        with pytest.raises(ValueError, match=message):
            fn(*args, **kwargs)

    average, x = jc.personal_average, jnp.zeros((N, D))
    refuses(r"weight must be in \[0, 1\], got 1.5", average, 1.5)
    refuses(r"weight must be in \[0, 1\], got -0.1", average, -0.1)
    refuses(r"weight must be in \[0, 1\], got nan", average, float("nan"))
    with pytest.raises(TypeError, match="weight must be a number, got 'naive'"):
        average("naive")
    refuses("variance must be None beside a fixed weight, got 1.0", average, 0.5, variance=1.0)
    refuses("variance must be finite and at least 0, got -1", average, averaging.naive, variance=-1)
    refuses("variance must be finite.*got nan", average, averaging.naive, variance=np.nan)
    refuses("counts must be finite and positive, got", average, 0.5, counts=[1, -1, 2, 2, 2])
    refuses("counts must be finite and positive, got", average, 0.5, counts=np.zeros(N))
    refuses(r"memory must be in \[0, 1\), got 1", average, averaging.naive, memory=1.0)
    refuses(r"counts must have shape \[n=5\], got \(2,\)", average(0.5, counts=[1, 2]).init, x)
    refuses(r"weight must be a number or \[n=5\], got shape \(2,\)", average([0.5, 0.5]).init, x)
    given = average(averaging.naive, variance=[1.0, 2.0])
    refuses(r"variance must be a number or \[n=5\], got shape \(2,\)", given.init, x)
    refuses("n must be at least 2, got 1", average(0.5).init, x[:1])
    refuses(
        r"matrix must be square, \[n, n\], got shape \(2, 3\)",
        jc.mixing.collaboration,
        np.ones((2, 3)),
    )
    refuses("rows that sum to 1, got 0.5 in row 1", jc.mixing.collaboration, [[1, 0], [0, 0.5]])
    refuses("matrix must be finite", jc.mixing.collaboration, [[1, 0], [0, np.nan]])
    refuses(
        r"matrix must be \[n=5, n\].*got \(2, 2\)",
        jc.mixing.collaboration(np.eye(2)).init,
        x,
    )
    optimizer, mixer = optax.sgd(0.1), jc.all_reduce()
    refuses(
        r"weight must be in \[0, 1\], got 2",
        jc.algorithms.apfl,
        quadratic,
        optimizer,
        mixer,
        weight=2,
    )
    refuses(
        "weight_rate must be finite",
        jc.algorithms.apfl,
        quadratic,
        optimizer,
        mixer,
        weight_rate=-1,
    )
    wrong = jc.algorithms.apfl(quadratic, optimizer, mixer, weight=[0.5, 0.5])
    refuses(r"weight must be a number or \[n=5\], got shape \(2,\)", wrong.init, x)
    common = jc.decentralized(quadratic, optimizer, mixer)
    refuses(
        "attraction must be finite and at least 0, got -1",
        jc.algorithms.ditto,
        common,
        quadratic,
        optimizer,
        attraction=-1,
    )
    refuses(
        "local_steps must be at least 1",
        jc.algorithms.ditto,
        common,
        quadratic,
        optimizer,
        attraction=1,
        local_steps=0,
    )
