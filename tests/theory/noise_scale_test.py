"""Noise-scale estimators against closed forms, and what they suggest."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.theory import noise_scale as ns

KEY = jax.random.key(0)
D = 20
POINT = np.random.default_rng(3).normal(size=D) * 0.5
NOISE = 0.25
EXACT = (D + 1) + D * NOISE / (POINT @ POINT)  # of Gaussian features with unit covariance
PROBLEM = jc.data.synthetic.gaussian_regression(np.ones(D), label_noise=NOISE)


def loss(params, batch, key):
    return 0.5 * jnp.mean((batch.a @ params - batch.y) ** 2)


def draw(key, size):
    return jax.tree.map(
        lambda leaf: leaf[0], jc.data.synthetic.regression_samples(size)(PROBLEM, key, 0)
    )


def test_per_sample_covariance_equals_numpy(x64):
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    x = rng.normal(size=4)
    grads = a * (a @ x - y)[:, None]
    batch = jc.data.synthetic.Examples(a, y, np.ones(30))
    estimate = ns.per_sample(loss, jnp.asarray(x), batch, chunk=7)
    mean = grads.mean(0)
    np.testing.assert_allclose(estimate.signal, mean @ mean, rtol=1e-12)
    np.testing.assert_allclose(estimate.noise, np.trace(np.cov(grads.T, bias=True)), rtol=1e-12)
    free = ns.per_sample(loss, jnp.asarray(x), batch, unbiased=True)
    np.testing.assert_allclose(free.noise, np.trace(np.cov(grads.T)), rtol=1e-12)
    np.testing.assert_allclose(free.signal, mean @ mean - free.noise / 30, rtol=1e-12)

    # two batch sizes, of which the large one is everything, in expectation over all small ones
    small = np.mean([((grads[i] + grads[j]) / 2) ** 2 for i in range(30) for j in range(30)], 0)
    expected = ns.two_batches(small.sum(), mean @ mean + estimate.noise / 30, 2, 30)
    np.testing.assert_allclose(expected.signal, estimate.signal, rtol=1e-10)
    np.testing.assert_allclose(expected.noise, estimate.noise, rtol=1e-10)


def test_both_estimators_find_the_exact_ratio():
    examples = draw(jax.random.key(1), 20_000)
    full = ns.per_sample(loss, jnp.asarray(POINT, jnp.float32), examples, unbiased=True)
    assert float(full.ratio) == pytest.approx(EXACT, rel=0.05)
    two = ns.from_batches(
        loss, jnp.asarray(POINT, jnp.float32), draw, KEY, small=10, large=500, repeats=400
    )
    assert float(two.ratio) == pytest.approx(EXACT, rel=0.1)
    # a mean over b examples has a b-th of the noise
    pairs = jax.tree.map(lambda leaf: leaf.reshape(10_000, 2, *leaf.shape[1:]), examples)

    def of_two(params, batch, key):
        return loss(params, jax.tree.map(lambda leaf: leaf[0], batch), key)

    halved = ns.per_sample(of_two, jnp.asarray(POINT, jnp.float32), pairs, unbiased=True)
    assert float(halved.ratio) == pytest.approx(EXACT / 2, rel=0.07)


def test_regression_along_a_trajectory():
    signal = np.geomspace(1, 1e-3, 30)
    exact = ns.fit(signal, 21 * signal + 5)
    assert exact.noise_ratio == pytest.approx(21) and exact.variance == pytest.approx(5)
    assert ns.fit(signal, 3 * signal).variance == pytest.approx(0, abs=1e-12)
    assert ns.fit(signal, 2 - signal).noise_ratio == 0  # never negative
    weighted = ns.fit(signal, 21 * signal + 5, weights=1 / (21 * signal + 5) ** 2)
    assert weighted.noise_ratio == pytest.approx(21)

    examples = draw(KEY, 4000)
    algorithm = jc.with_metrics(jc.centralized(loss, optax.sgd(0.02)), ns.measured(loss, examples))
    params = jc.replicate(jnp.asarray(4 * POINT, jnp.float32), 1)
    batches = jax.tree.map(lambda leaf: leaf.reshape(100, 1, 40, *leaf.shape[1:]), examples)
    _, log = jc.run(algorithm, algorithm.init(params), jc.data.stacked(batches), KEY)
    estimate = ns.fit(log["signal"], log["noise"], weights=1 / np.square(log["noise"]))
    assert estimate.noise_ratio == pytest.approx(D + 1, rel=0.1)
    assert estimate.variance == pytest.approx(D * NOISE, rel=0.25)


def test_smoothness_is_the_largest_eigenvalue(x64):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 5)) * [3, 1, 1, 1, 1]
    batch = jc.data.synthetic.Examples(a, np.zeros(30), np.ones(30))
    estimate = ns.smoothness(loss, jnp.zeros(5), batch, KEY, iterations=60)
    np.testing.assert_allclose(estimate, np.linalg.eigvalsh(a.T @ a / 30)[-1], rtol=1e-8)


def test_curvature_weighted_noise_of_a_quadratic(x64):
    """Least squares, whose Hessian is that of all examples, against its closed form."""
    rng = np.random.default_rng(1)
    a, y, x = rng.normal(size=(40, 6)) * np.geomspace(1, 0.1, 6), rng.normal(size=40), np.ones(6)
    hessian, grads = a.T @ a / 40, a * (a @ x - y)[:, None]
    covariance, mean = np.cov(grads.T, bias=True), grads.mean(0)
    batch = jc.data.synthetic.Examples(a, y, np.ones(40))
    exact = ns.curvature_weighted(loss, jnp.asarray(x), batch)
    np.testing.assert_allclose(exact.signal, mean @ hessian @ mean, rtol=1e-12)
    np.testing.assert_allclose(exact.noise, np.trace(hessian @ covariance), rtol=1e-12)

    # the best step with batches of b is half as useful as that of a full batch at b = ratio
    def best_decrease(b):
        curvature = mean @ hessian @ mean + np.trace(hessian @ covariance) / b
        return (mean @ mean) ** 2 / (2 * curvature)

    np.testing.assert_allclose(best_decrease(exact.ratio), best_decrease(np.inf) / 2)
    probes = 2000
    drawn = ns.curvature_weighted(loss, jnp.asarray(x), batch, probes=probes, key=KEY)
    np.testing.assert_allclose(drawn.signal, exact.signal, rtol=1e-12)
    error = np.sqrt(2 / probes) * (exact.noise + exact.signal)
    assert 0 < abs(drawn.noise - exact.noise) < 3 * error


def test_curvature_weighted_noise_of_logistic_regression(x64):
    """The Hessian of softmax regression written out, block by block of classes."""
    rng = np.random.default_rng(2)
    x, y, l2 = rng.normal(size=(25, 3)), rng.integers(0, 4, 25), 0.1
    weights = rng.normal(size=(3, 4))

    def objective(params, batch, key):
        fits = optax.softmax_cross_entropy_with_integer_labels(batch.x @ params, batch.y)
        return fits.mean() + 0.5 * l2 * jnp.sum(params**2)

    shares = np.exp(x @ weights)
    shares /= shares.sum(1, keepdims=True)
    residuals = shares - np.eye(4)[y]
    grads = (x[:, :, None] * residuals[:, None, :] + l2 * weights).reshape(25, 12)
    blocks = shares[:, :, None] * np.eye(4) - shares[:, :, None] * shares[:, None, :]
    hessian = np.einsum("ia,ib,icd->acbd", x, x, blocks).reshape(12, 12) / 25 + l2 * np.eye(12)
    mean, covariance = grads.mean(0), np.cov(grads.T, bias=True)
    estimate = ns.curvature_weighted(objective, jnp.asarray(weights), jc.data.Dataset(x, y))
    np.testing.assert_allclose(estimate.signal, mean @ hessian @ mean, rtol=1e-12)
    np.testing.assert_allclose(estimate.noise, np.trace(hessian @ covariance), rtol=1e-12)


def test_noise_weighted_by_an_identity_is_that_of_gradients(x64):
    examples = jnp.asarray(np.random.default_rng(3).normal(size=(9, 4)))

    def objective(params, batch, key):
        return 0.5 * ((params["w"] - batch) ** 2).sum(-1).mean()

    params = {"w": jnp.ones(4)}
    flat = ns.per_sample(objective, params, examples)
    weighted = ns.curvature_weighted(objective, params, examples)
    np.testing.assert_allclose(weighted, flat, rtol=1e-12)
    # a saddle: the loss has no best step along the gradient
    saddle = ns.curvature_weighted(lambda p, b, k: -objective(p, b, k), params, examples)
    assert saddle.signal < 0 and saddle.noise < 0


def test_any_model_will_do():
    model = jc.models.CNN(num_classes=3, channels=(2,), hidden=(4,))
    images = jax.random.normal(KEY, (6, 4, 4, 1))
    examples = jc.data.Dataset(images, np.arange(6) % 3)
    params = model.init(KEY, images[:1])
    objective = jc.objectives.classification(model.apply)
    estimate = ns.per_sample(objective, params, examples)
    whole = jax.grad(lambda p: objective(p, examples, KEY)[0])(params)
    square = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(whole))
    assert float(estimate.signal) == pytest.approx(square, rel=1e-4) and float(estimate.noise) > 0
    assert float(ns.smoothness(objective, params, examples, KEY, iterations=5)) > 0
    curved = ns.curvature_weighted(objective, params, examples)
    hessian = jax.hessian(lambda flat: objective(restore(flat), examples, KEY)[0])
    flat, restore = jax.flatten_util.ravel_pytree(params)
    slope = jax.flatten_util.ravel_pytree(whole)[0]
    assert float(curved.signal) == pytest.approx(float(slope @ hessian(flat) @ slope), rel=1e-3)


def test_suggestions():
    assert ns.critical(9.0, 1.0, 0.01) == pytest.approx(109)
    assert ns.suggest_batch_size(9.0) == 11 and ns.suggest_batch_size(0.0) == 2
    assert ns.suggest_batch_size(99.0, efficiency=1.0) == 1
    for b in (1, 8, 64):  # the speed-up's own best learning rate
        best = jc.theory.second_moments.tuned(9.0, batch_size=b).learning_rate
        assert ns.suggest_learning_rate(b, critical=9.0, base=0.1) == pytest.approx(best)
    for tau in (1, 3, 10, 30):  # within a fifth of the tuned ones
        best = jc.theory.second_moments.tuned(9.0, delay=tau).learning_rate
        estimate = ns.suggest_learning_rate(1, tau, critical=9.0, base=0.1)
        assert estimate == pytest.approx(best, rel=0.2)
    swept = jax.vmap(lambda b, d: ns.suggest_learning_rate(b, d, critical=9.0))(
        jnp.array([1.0, 4.0]), jnp.array([0, 2])
    )
    np.testing.assert_allclose(swept, [1.0, 10 / (1 + 9 / 4 + 4)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ns.suggest_batch_size(-1.0), "critical must be finite and at least 0, got -1"),
        (lambda: ns.suggest_batch_size(1.0, efficiency=0), r"efficiency must be in \(0, 1\]"),
        (lambda: ns.suggest_learning_rate(0, critical=1.0), "batch_size must be at least 1, got 0"),
        (lambda: ns.suggest_learning_rate(1, -2, critical=1.0), "delay must be at least 0, got -2"),
        (lambda: ns.suggest_learning_rate(critical=1.0, base=0.0), "base must be positive"),
        (lambda: ns.critical(1.0, 1.0, 0.0), "accuracy must be positive"),
        (lambda: ns.two_batches(1.0, 1.0, 4, 4), "large must be above 4, got 4"),
        (lambda: ns.fit([1.0], [1.0]), "signal and noise must have one shape"),
        (lambda: ns.fit([1.0, 2.0], [1.0, 2.0], weights=[1.0]), "weights must have shape"),
        (
            lambda: ns.from_batches(loss, POINT, draw, KEY, small=1, large=2, repeats=0),
            "repeats must be at least 1",
        ),
        (
            lambda: ns.per_sample(loss, POINT, draw(KEY, 1), unbiased=True),
            "examples must be at least 2",
        ),
        (lambda: ns.smoothness(loss, POINT, draw(KEY, 2), KEY, iterations=0), "iterations must be"),
        (lambda: ns.curvature_weighted(loss, POINT, draw(KEY, 2), probes=0), "probes must be"),
        (lambda: jc.data.synthetic.regression_samples(0), "batch_size must be at least 1, got 0"),
        (
            lambda: jc.data.synthetic.regression_samples(5, 4),
            r"batch_size must be in 1..maximum=4, got 5",
        ),
        (lambda: jc.data.synthetic.gaussian_regression([1.0, 0.0]), "eigenvalues must be positive"),
        (lambda: jc.data.synthetic.one_hot_regression(0), "d must be at least 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
