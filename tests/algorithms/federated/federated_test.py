"""Federated learning against a loop over clients, and the original's one-round end points."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from tests import REFERENCE
from tests.reference import federated as oracle

FOLDER = REFERENCE / "grad_align"
REFS = json.loads((FOLDER / "refs.json").read_text())
KEY = jax.random.key(3)
GAMMA, STEPS, ROUNDS = 0.05, 3, 4
SGD = optax.sgd(GAMMA)


def loss(x, batch, key):
    return 0.5 * x @ batch["A"] @ x - batch["b"] @ x


def quadratic():
    """The original's problem, once x64 is on."""
    recorded = np.load(FOLDER / "quadratic.npz")
    return {"A": jnp.asarray(recorded["A"]), "b": jnp.asarray(recorded["b"])}, jnp.asarray(
        recorded["x0"]
    )


def build(optimizer=SGD, **options):
    return jc.federated(loss, optimizer, **{"local_steps": STEPS} | options)


def train(algorithm, data, x, rounds=ROUNDS):
    """The server's model after each round."""
    state, models = algorithm.init(jc.replicate(x, 5)), []
    for _ in range(rounds):
        state, _ = jc.run(algorithm, state, jc.data.full_batch(data), KEY, num_rounds=1)
        models.append(jc.params_of(state)[0])
    return np.stack(models)


def cohorts(num_sampled):
    """The clients that the rounds of ``train`` sample."""
    sampled = []
    for t in range(ROUNDS):
        _, key = jax.random.split(jax.random.fold_in(KEY, t))
        sampled.append(
            np.asarray(jc.layout.sample_clients(jax.random.split(key)[0], 5, num_sampled))
        )
    return sampled


METHODS = {
    "fedavg": jc.local.fedavg(),
    "fedprox": jc.local.fedprox(0.7),
    "scaffold": jc.local.scaffold(),
    "scaffold recomputed": jc.local.scaffold(recomputed=True),
    "fedga": jc.local.fedga(0.1),
    "feddyn": jc.local.feddyn(0.7),
    "fednova": jc.local.fednova(),
}
COMBINED = ("fedprox+fednova", "scaffold+fednova", "fedga+fedprox", "feddyn+fedga+fednova")
SERVERS = {
    "momentum": optax.sgd(1.0, momentum=0.9),
    "adam": optax.adam(0.1),
    "yogi": optax.yogi(0.1),
    "adagrad": optax.adagrad(0.1),
}
WEIGHTS, TAKEN = np.array([1.0, 4.0, 2.0, 0.0, 3.0]), np.array([3, 1, 2, 3, 2])


@pytest.mark.parametrize("num_sampled", [None, 3])
@pytest.mark.parametrize("method", [*METHODS, *COMBINED])
def test_methods_equal_a_loop_over_clients(method, num_sampled, x64):
    """The argument ``method`` alone makes the method, and what clients keep survives sampling."""
    data, x = quadratic()
    who = cohorts(num_sampled) if num_sampled else [range(5)] * ROUNDS
    options = {} if "fednova" in method and num_sampled else {"weights": WEIGHTS}
    if not {"fedprox", "fedga", "feddyn"} & {method} and "recomputed" not in method:
        options["num_steps"] = TAKEN
    parts = [METHODS[name] for name in method.split("+")]
    whole = parts[0] if len(parts) == 1 else jc.local.combine(*parts)
    algorithm = build(method=whole, num_sampled=num_sampled, **options)
    expected = oracle.run(
        np.asarray(data["A"]),
        np.asarray(data["b"]),
        np.asarray(x),
        who,
        method=method,
        weights=options.get("weights"),
        steps=options.get("num_steps"),
    )
    np.testing.assert_allclose(train(algorithm, data, x), expected, rtol=1e-11, atol=1e-12)


def test_combining_one_or_no_method_changes_nothing(x64):
    data, x = quadratic()
    for name, method in METHODS.items():
        one = train(build(method=jc.local.combine(method)), data, x)
        alone = train(build(method=method), data, x)
        np.testing.assert_allclose(one, alone, rtol=1e-12, err_msg=name)
    none = train(build(method=jc.local.combine()), data, x)
    np.testing.assert_allclose(none, train(build(), data, x), rtol=1e-12)


def test_each_method_of_several_gets_its_own_correction(x64):
    """SCAFFOLD twice corrects twice, as one method with twice the correction."""
    data, x = quadratic()
    once = jc.local.scaffold(recomputed=True)

    def start(*args):
        y, correction = once.start(*args)
        return y, 2 * correction

    twice = build(method=jc.local.combine(once, once))
    expected = build(method=once._replace(start=start))
    np.testing.assert_allclose(train(twice, data, x), train(expected, data, x), rtol=1e-12)


def test_methods_that_do_not_combine_are_named():
    with pytest.raises(ValueError, match="methods must have at most one length, got 2"):
        jc.local.combine(jc.local.fednova(), jc.local.scaffold(), jc.local.fednova(0.9))
    with pytest.raises(TypeError, match=r"methods\[1\] must be a ClientMethod, got str"):
        jc.local.combine(jc.local.fednova(), "scaffold")
    with pytest.raises(TypeError, match="method must be a ClientMethod, got the function scaffold"):
        build(method=jc.local.scaffold)


def test_corrections_are_gradients_over_all_batches_of_a_round(x64):
    """SCAFFOLD with recomputed corrections and another batch in every step, as a loop."""
    rng, (n, d) = np.random.default_rng(0), (5, 4)
    a, b = rng.normal(size=(n, STEPS, d, d)), rng.normal(size=(n, STEPS, d))
    a, x = a + a.swapaxes(2, 3), rng.normal(size=d)
    algorithm = build(method=METHODS["scaffold recomputed"])
    own = np.einsum("nkde,e->nkd", a, x) - b
    own, ends = own.mean(1), []
    for i in range(n):
        y = x
        for k in range(STEPS):
            y = y - GAMMA * (a[i, k] @ y - b[i, k] - own[i] + own.mean(0))
        ends.append(y)
    state = algorithm.init(jc.replicate(jnp.asarray(x), n))
    state, _ = algorithm.update(state, {"A": jnp.asarray(a), "b": jnp.asarray(b)}, KEY)
    np.testing.assert_allclose(jc.params_of(state)[0], np.mean(ends, 0), rtol=1e-12)


@pytest.mark.parametrize("server", SERVERS)
def test_server_optimizers_equal_their_formulas(server, x64):
    data, x = quadratic()
    algorithm = build(server_optimizer=SERVERS[server])
    expected = oracle.run(
        np.asarray(data["A"]), np.asarray(data["b"]), np.asarray(x), [range(5)] * 4, server=server
    )
    np.testing.assert_allclose(train(algorithm, data, x), expected, rtol=1e-9)


def test_one_round_of_the_original(x64):
    data, x = quadratic()
    ends = {
        "fedavg_x1": build(),
        "fedga_x1": build(method=jc.local.fedga(REFS["beta"])),
        "scaffold_x1": build(method=jc.local.scaffold(recomputed=True)),
        "gradalign_x1": jc.algorithms.grad_align(loss, SGD, REFS["beta"]),
    }
    for name, algorithm in ends.items():
        np.testing.assert_allclose(train(algorithm, data, x, 1)[0], REFS[name], rtol=1e-12)
    steps = train(jc.centralized(loss, SGD), data, x, STEPS)
    np.testing.assert_allclose(steps[-1], REFS["gd_x1"], rtol=1e-12)


def test_grad_align_follows_the_regularized_gradient_exactly_on_quadratics(x64):
    data, x = quadratic()

    def regularized(x):
        grads = jax.vmap(jax.grad(loss), (None, 0, None))(x, data, KEY)
        variance = jnp.mean(jnp.sum((grads - grads.mean(0)) ** 2, axis=1))
        return jnp.mean(jax.vmap(loss, (None, 0, None))(x, data, KEY)) + REFS["beta"] / 2 * variance

    step = train(jc.algorithms.grad_align(loss, SGD, REFS["beta"]), data, x, 1)[0]
    np.testing.assert_allclose(step, x - GAMMA * jax.grad(regularized)(x), rtol=1e-12)
    algorithm = jc.algorithms.grad_align(loss, SGD, 0.0)
    _, log = jc.run(
        algorithm, algorithm.init(jc.replicate(x, 5)), jc.data.full_batch(data), KEY, num_rounds=1
    )
    np.testing.assert_allclose(log["gradient_variance"][0], REFS["grad_variance_x0"], rtol=1e-12)


def test_special_cases(x64):
    data, x = quadratic()
    plain = train(build(), data, x)
    aligned = train(build(method=jc.local.fedga(0.0)), data, x)
    np.testing.assert_allclose(aligned, plain, rtol=1e-12)
    centralized = train(jc.centralized(loss, SGD), data, x)
    np.testing.assert_allclose(train(build(local_steps=1), data, x), centralized, rtol=1e-12)
    unaligned = train(jc.algorithms.grad_align(loss, SGD, 0.0), data, x)
    np.testing.assert_allclose(unaligned, centralized, rtol=1e-12)
    once = train(build(local_steps=1, method=jc.local.fedga(0.1)), data, x)
    np.testing.assert_allclose(
        once, train(jc.algorithms.grad_align(loss, SGD, 0.1), data, x), rtol=1e-12
    )
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 5), data)
    for beta in (0.1, 3.0):  # identical clients have nothing to align
        moved = train(jc.algorithms.grad_align(loss, SGD, beta), same, x)
        np.testing.assert_allclose(moved, train(jc.centralized(loss, SGD), same, x), rtol=1e-12)
    level = {"A": same["A"], "b": data["b"]}  # equal Hessians: the variance has no gradient
    moved = train(jc.algorithms.grad_align(loss, SGD, 0.5), level, x)
    np.testing.assert_allclose(moved, train(jc.centralized(loss, SGD), level, x), rtol=1e-12)


def test_chunks_do_not_change_results(x64):
    data, x = quadratic()
    whole = train(build(method=METHODS["scaffold"], num_sampled=3), data, x)
    for chunk in (1, 2):
        part = train(build(method=METHODS["scaffold"], num_sampled=3, chunk=chunk), data, x)
        np.testing.assert_allclose(part, whole, rtol=1e-12)


def test_what_a_client_keeps_is_the_clients():
    """Counts in ``model_state`` go up for the sampled alone, whatever their place in the round."""

    def counting(params, model_state, batch, key):
        return jnp.sum(params) * 0.0, model_state + batch, {}

    algorithm = jc.federated(
        jc.stateful(counting), SGD, num_sampled=3, dropout=0.3, model_state="keep"
    )
    state = algorithm.init(jnp.zeros((6, 2)), jnp.zeros(6))
    participants, log = jnp.zeros(()), []
    for t in range(5):
        batch = 10.0 ** jnp.arange(6)
        batches = jc.data.full_batch(batch)
        new, metrics = algorithm.update(state, batches, jax.random.fold_in(KEY, t))
        moved = np.asarray(new.clients.model_state - state.clients.model_state)
        assert set(moved[moved != 0]) <= set(np.asarray(batch))
        np.testing.assert_array_equal(moved[moved != 0], np.asarray(batch)[moved != 0])
        assert (moved != 0).sum() == metrics["participants"] <= 3
        participants += metrics["participants"]
        log.append(metrics["participants"])
        state = new
    assert 0 < participants < 15


@pytest.mark.parametrize("rule", [None, jc.aggregators.coordinate_median()])
def test_a_round_that_nobody_finishes_changes_nothing(rule):
    momentum = optax.sgd(1.0, momentum=0.9)
    algorithm = build(dropout=0.999, server_optimizer=momentum, rule=rule)
    data, x = {"A": jnp.ones((5, 2, 2)), "b": jnp.ones((5, 2))}, jnp.ones(2)
    state = algorithm.init(jc.replicate(x, 5))
    with jax.debug_nans(True):
        new, metrics = algorithm.update(state, jc.data.full_batch(data), KEY)
    chex.assert_trees_all_equal(new.shared, state.shared)
    assert metrics["participants"] == 0 and metrics["loss"] == 0


def test_one_model_for_a_given_number_of_clients():
    data = {"A": jnp.ones((5, 2, 2)), "b": jnp.arange(10.0).reshape(5, 2)}
    x = jnp.array([1.0, -1.0])
    given, data = build(num_clients=5), jc.data.full_batch(data)
    state, _ = given.update(given.init(x), data, KEY)
    stacked = build()
    expected, _ = stacked.update(stacked.init(jc.replicate(x, 5)), data, KEY)
    chex.assert_trees_all_close(state, expected, rtol=1e-6)


def test_a_robust_server_bears_a_liar(x64):
    data, x = quadratic()
    liar = np.arange(5) == 2
    wire = jc.channels.byzantine(
        lambda own, messages, weights, byzantine, context: jnp.full(4, 1e6), liar
    )
    clipped = build(rule=jc.aggregators.coordinate_median(), channel=wire, honest=~liar)
    free = train(build(), data, x, 1)[0]
    assert np.abs(train(clipped, data, x, 1)[0] - free).max() < 1
    assert np.abs(train(build(channel=wire), data, x, 1)[0]).max() > 1e5
    mean = build(rule=jc.aggregators.weighted())
    np.testing.assert_allclose(train(mean, data, x), train(build(), data, x), rtol=1e-12)


def test_clients_are_sampled_uniformly_without_replacement():
    for n, m in ((7, 3), (40, 3), (1000, 1), (9, 9)):
        draw = jax.jit(jax.vmap(lambda key: jc.layout.sample_clients(key, n, m)))  # noqa: B023
        drawn = np.asarray(draw(jax.random.split(KEY, 4000)))
        assert all(len(set(row)) == m for row in drawn) and drawn.min() >= 0 and drawn.max() < n
        counts = np.bincount(drawn.ravel(), minlength=n)
        spread = np.sqrt(4000 * m / n * (1 - m / n))
        assert np.abs(counts - 4000 * m / n).max() <= 5 * spread + 1e-9
        first = np.bincount(drawn[:, 0], minlength=n)  # each place is uniform as well
        assert np.abs(first - 4000 / n).max() <= 5 * np.sqrt(4000 / n)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_sampled": 6}, r"num_sampled must be in 1\.\.5.*got 6"),
        ({"num_sampled": 0}, r"num_sampled must be at least 1, got 0"),
        ({"local_steps": 0}, r"local_steps must be at least 1, got 0"),
        ({"chunk": 0}, r"chunk must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"weights": np.zeros(5)}, r"weights must have a positive sum"),
        ({"weights": [1, 1, -2, 1, 1]}, r"weights must be finite and at least 0"),
        ({"weights": np.ones(4)}, r"weights must have shape \[n=5\], got \[4\]"),
        ({"num_steps": [1, 2, 3, 4, 1]}, r"num_steps must be in 1\.\.3, got 1\.\.4"),
        ({"rule": jc.aggregators.trimmed_mean(3)}, r"which needs at least 7"),
        ({"channel": jc.channels.delayed(2), "num_sampled": 3}, r"num_sampled must be 5 with a"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options).init(jnp.ones((5, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jc.local.fedga(-0.1), r"beta must be finite and at least 0, got -0.1"),
        (lambda: jc.algorithms.grad_align(loss, SGD, -1.0), r"beta must be at least 0, got -1.0"),
        (lambda: jc.local.proximal(-1.0), r"penalty must be at least 0, got -1.0"),
        (lambda: jc.local.fedprox(-1.0), r"mu must be finite and at least 0, got -1.0"),
        (lambda: jc.local.feddyn(0.0), r"alpha must be finite and positive, got 0.0"),
        (lambda: jc.local.fednova(1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: jc.layout.sample_clients(KEY, 3, 4), r"num_sampled must be in 1\.\.3"),
    ],
)
def test_bad_parts_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_batches_of_the_wrong_form_are_named():
    algorithm = jc.federated(loss, SGD, local_steps=2)
    state = algorithm.init(jnp.ones((5, 4)))
    with pytest.raises(ValueError, match=r"batch\['A'\] must have shape \[n, H=2, ...\]"):
        algorithm.update(state, {"A": jnp.ones((5, 4, 4)), "b": jnp.ones((5, 2, 4))}, KEY)
