import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.theory import second_moments as sm

KEY = jax.random.key(0)


def brute(values, rate, batch, delays, label, steps):
    """The full second-moment matrix of the last iterates of all coordinates, by Isserlis."""
    d, L = len(values), max(delays) + 1
    moment = np.kron(np.ones((L, L)), np.eye(d))  # E x_j(t-k) x_j(t-l), x_j(0) = +-1 at random
    hessian, trajectory = np.diag(values), [np.ones(d)]
    for tau in delays:
        old = moment[tau * d : (tau + 1) * d, tau * d : (tau + 1) * d]
        grad = 2 * hessian @ old @ hessian + hessian * np.trace(hessian @ old)  # E a a'xx'a a'
        cov = grad - hessian @ old @ hessian + label * hessian
        step = np.zeros((L * d, L * d))
        step[:d, :d] = np.eye(d)
        step[:d, tau * d : (tau + 1) * d] -= rate * hessian
        step[d:, :-d] = np.eye((L - 1) * d)
        moment = step @ moment @ step.T
        moment[:d, :d] += rate**2 * cov / batch
        trajectory.append(np.diag(moment)[:d].copy())
    return np.array(trajectory)


def test_recursions_equal_the_full_covariance():
    values, delays = np.array([1.0, 0.4, 0.1]), [0, 2, 1, 3, 3, 0, 2, 2, 1, 0]
    moments = sm.gaussian_moments(
        values, [0.1, 0.2], 10, delay=delays, batch_size=2, label_noise=0.3
    )
    expected = brute(values, 0.2, 2, delays, 0.3, 10)
    np.testing.assert_allclose(moments[:, 1], expected, rtol=1e-8)
    # with equal eigenvalues, M = d + 1
    equal = sm.gaussian_moments(np.ones(5), 0.1, 10, delay=delays, batch_size=3, label_noise=0.2)
    plain = sm.delayed_moments(
        0.1, 10, noise_ratio=6, delay=delays, batch_size=3, variance=1.0, start=5.0
    )
    np.testing.assert_allclose(equal.sum(1), plain, rtol=1e-10)
    # local SGD of one client is SGD; of one step, a mini-batch
    steps = sm.gaussian_moments(values, 0.1, 12, label_noise=0.3)
    local = sm.local_moments(values, 0.1, 4, n=1, local_steps=3, label_noise=0.3)
    np.testing.assert_allclose(local, steps[::3], rtol=1e-12)
    batch = sm.gaussian_moments(values, 0.1, 4, batch_size=6, label_noise=0.3)
    local = sm.local_moments(values, 0.1, 4, n=6, local_steps=1, label_noise=0.3)
    np.testing.assert_allclose(local, batch, rtol=1e-12)


@pytest.mark.parametrize("case", ["batch", "delay", "one-hot"])
def test_monte_carlo_within_three_standard_errors(case):
    """Runs of the library, all learning rates, batches and delays traced, against the recursion."""
    runs, steps, d = 4000, 30, 6
    rates, batches, delays = jnp.array([0.05, 0.1]), jnp.array([1, 3]), jnp.array([0, 4])
    problem = jc.data.synthetic.gaussian_regression(np.ones(d))
    if case == "one-hot":
        problem = jc.data.synthetic.one_hot_regression(d)
        rates = rates * d

    def final(rate, batch, delay, key):
        schedule = jc.theory.arrivals.round_robin(steps, delay + 1)
        algorithm = jc.algorithms.asynchronous(
            jc.data.synthetic.regression_loss, optax.sgd(rate), schedule
        )
        state = algorithm.init(jnp.ones((5, d)))
        sample = jc.data.synthetic.regression_samples(batch, 3)
        state, _ = jc.run(
            algorithm, state, jc.data.from_function(sample, problem), key, num_rounds=steps
        )
        return jnp.sum(jc.params_of(state)[0] ** 2)

    pairs = (rates, jnp.ones(2, int), jnp.zeros(2, int))
    if case == "batch":
        pairs = (rates, batches, jnp.zeros(2, int))
    elif case == "delay":
        pairs = (rates, batches, delays)
    else:
        pairs = (rates, batches, delays)
    keys = jax.random.split(KEY, runs)
    sweep = jax.vmap(jax.vmap(final, (None, None, None, 0)), (0, 0, 0, None))
    values = np.asarray(jax.jit(sweep)(*pairs, keys), float)
    for i, (rate, batch, delay) in enumerate(np.asarray(jnp.stack([*map(jnp.asarray, pairs)], 1))):
        curvature = 1 / d if case == "one-hot" else 1.0
        exact = sm.delayed_moments(
            rate * curvature,
            steps,
            noise_ratio=d - 1 if case == "one-hot" else d + 1,
            delay=int(delay),
            batch_size=batch,
            start=float(d),
        )[-1]
        error = values[i].std() / np.sqrt(runs)
        assert abs(values[i].mean() - exact) < 3 * error


def test_copies_of_one_sample_are_one_sample():
    one = jc.data.synthetic.regression_samples(1)(
        jc.data.synthetic.gaussian_regression(np.ones(5)), KEY, 0
    )
    one = jax.tree.map(lambda leaf: leaf[0], one)
    eight = jc.data.synthetic.Examples(
        jnp.repeat(one.a, 8, 0), jnp.repeat(one.y, 8), jnp.repeat(one.weight, 8) / 8
    )
    gradient = jax.grad(jc.data.synthetic.regression_loss)
    x = jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(gradient(x, one, KEY), gradient(x, eight, KEY), rtol=1e-6)
